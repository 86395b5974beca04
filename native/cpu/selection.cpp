#include "cpu/selection.hpp"

#include <algorithm>
#include <functional>

namespace pointsman {
namespace {

constexpr uint32_t kMostPrefetched = 256;  // floats of a row: the processor goes on from there by itself

// Candidates that bounds can't tell apart, as many among the first rows, wait for a threshold that can;
// beyond so many times the room for new ones they are scored.
constexpr size_t kMostRooms = 3;

// The order of results. Of scored candidates only.
bool better(const Candidate& a, const Candidate& b) {
  return a.lower != b.lower ? a.lower > b.lower : a.handle < b.handle;
}

}  // namespace

void Scorer::score(Candidate& candidate) const {
  candidate.lower = candidate.upper =
      kernels_.exact(row_at(candidate.block, candidate.row), query_, request_.stride);
  candidate.handle = request_.blocks[candidate.block].handles[candidate.row];
}

void Scorer::fetch(uint32_t block, uint32_t row) const {
  const uint32_t ahead = std::min(request_.stride, kMostPrefetched);
  for (uint32_t j = 0; j < ahead; j += kRowAlign) __builtin_prefetch(row_at(block, row) + j);
}

void Scorer::score_all(std::span<Candidate> candidates) const {
  for (size_t i = 0; i < candidates.size() + kAhead; ++i) {
    if (i < candidates.size() && !candidates[i].scored()) fetch(candidates[i].block, candidates[i].row);
    if (i >= kAhead && !candidates[i - kAhead].scored()) score(candidates[i - kAhead]);
  }
}

void Selection::reset(uint32_t k) {
  k_ = k;
  capacity_ = std::max<size_t>(kTileRows, 2 * size_t{k});
  threshold_ = -INFINITY;
  worst_handle_ = UINT32_MAX;
  candidates_.clear();
  best_.clear();
}

bool Selection::raise(float lower) {
  if (best_.size() < k_) {
    best_.push_back(lower);
    if (best_.size() < k_) return false;
    std::make_heap(best_.begin(), best_.end(), std::greater<>());
  } else {
    if (lower <= best_.front()) return false;
    std::pop_heap(best_.begin(), best_.end(), std::greater<>());
    best_.back() = lower;
    std::push_heap(best_.begin(), best_.end(), std::greater<>());
  }
  if (best_.front() <= threshold_) return false;
  threshold_ = best_.front();
  worst_handle_ = UINT32_MAX;
  return true;
}

void Selection::drop_below(float threshold) {
  std::erase_if(candidates_, [threshold](const Candidate& c) { return c.upper < threshold; });
}

bool Selection::shrink(const Scorer& scorer) {
  drop_below(threshold_);
  const bool many = candidates_.size() > k_ + kMostRooms * room();
  if (many) {
    settle(scorer);
    threshold_ = candidates_.back().lower;
    worst_handle_ = candidates_.back().handle;
    best_.clear();
    for (const Candidate& candidate : candidates_) best_.push_back(candidate.lower);
    std::make_heap(best_.begin(), best_.end(), std::greater<>());
  }
  capacity_ = candidates_.size() + room();
  return many;
}

// Scores all that may be among the k best, and keeps these, the worst of them last.
void Selection::settle(const Scorer& scorer) {
  if (candidates_.size() > k_) {
    // Those that are best as far as bounds can tell: what the worst of them scores spares others.
    const float least = best_.front();
    const auto rest = std::partition(candidates_.begin(), candidates_.end(),
                                     [least](const Candidate& c) { return c.lower >= least; });
    const auto first = static_cast<size_t>(rest - candidates_.begin());
    scorer.score_all({candidates_.data(), first});
    float reached = INFINITY;
    for (size_t i = 0; i < first; ++i) reached = std::min(reached, candidates_[i].lower);
    if (first >= k_) drop_below(reached);  // fewer where finish() has dropped some of the best bounds
  }
  scorer.score_all(candidates_);
  if (candidates_.size() < k_) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + (k_ - 1), candidates_.end(), better);
  candidates_.resize(k_);
}

const std::vector<Candidate>& Selection::finish(float reached, const Scorer& scorer) {
  drop_below(reached);
  settle(scorer);
  std::sort(candidates_.begin(), candidates_.end(), better);
  return candidates_;
}

}  // namespace pointsman
