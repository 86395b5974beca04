// The rows that can still be among a query's k best: what the scan leaves, with bounds on their scores.
//
// A scan of codes tells of a row between what and what its score lies. The k-th largest lower bound is a
// valid threshold (k rows reach it), so rows need no exact score to raise it: candidates are collected, cut
// down whenever there are k more than the last time, and scored only at the end, when few more than k are
// left. Where the bounds can't tell rows apart (copies of one vector) a selection would grow
// without end: then they are scored at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "pointsman/backend.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

struct Candidate {
  static constexpr uint32_t kUnscored = UINT32_MAX;

  float lower, upper;  // equal once it is scored
  uint32_t block, row;
  uint32_t handle;  // kUnscored until then

  bool scored() const { return handle != kUnscored; }
};

// Scores candidates exactly, for one query.
class Scorer {
 public:
  Scorer(const pointsman_request& request, const Kernels& kernels, uint32_t query)
      : request_(request), kernels_(kernels), query_(request.queries + size_t{query} * request.stride) {}

  void score(Candidate& candidate) const;
  // Asks for a row from memory that is to be scored after kAhead others.
  static constexpr size_t kAhead = 6;
  void fetch(uint32_t block, uint32_t row) const;
  // Those that are not scored yet.
  void score_all(std::span<Candidate> candidates) const;

 private:
  const float* row_at(uint32_t block, uint32_t row) const {
    return request_.blocks[block].rows + size_t{row} * request_.stride;
  }

  const pointsman_request& request_;
  const Kernels& kernels_;
  const float* query_;
};

class Selection {
 public:
  void reset(uint32_t k);

  // At least k of the rows seen have this score; −∞ while there are fewer.
  float threshold() const { return threshold_; }
  // Of rows with just that score, those with a higher handle are lost. UINT32_MAX: not known yet.
  uint32_t worst_handle() const { return worst_handle_; }

  // True when the threshold has changed.
  bool add(const Candidate& candidate, const Scorer& scorer) {
    if (candidate.upper < threshold_) return false;
    candidates_.push_back(candidate);
    const bool risen = raise(candidate.lower);
    return (candidates_.size() >= capacity_ && shrink(scorer)) || risen;
  }
  void merge(const Selection& other, const Scorer& scorer) {
    for (const Candidate& candidate : other.candidates_) add(candidate, scorer);
  }

  // The k best, scored, best first; `reached` is a score that k rows have at least, here or elsewhere.
  const std::vector<Candidate>& finish(float reached, const Scorer& scorer);

 private:
  bool raise(float lower);
  // For candidates beyond the k best, until those that can't be are dropped.
  size_t room() const { return k_ < 64 ? 64 : k_; }
  bool shrink(const Scorer& scorer);
  void drop_below(float threshold);
  void settle(const Scorer& scorer);

  uint32_t k_ = 0;
  size_t capacity_ = 0;
  float threshold_ = -INFINITY;
  uint32_t worst_handle_ = UINT32_MAX;
  std::vector<Candidate> candidates_;
  std::vector<float> best_;  // a heap of the k best lower bounds, the least in front
};

}  // namespace pointsman
