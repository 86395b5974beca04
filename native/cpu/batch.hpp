// The queries of one search as the kernels want them: codes of each, panels of float32, cut into groups.
#pragma once

#include <cstdint>
#include <vector>

#include "pointsman/backend.hpp"
#include "pointsman/buffer.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

// Queries of one task at most: at 128 dimensions their codes and a tile of rows stay in the first-level
// cache.
inline constexpr uint32_t kGroupQueries = 64;
// Of any instruction set, in queries.
inline constexpr uint32_t kWidestPanel = 48;

// A set of a query's codes as thresholds need it, all in float64.
struct CodedStep {
  double step, inverse_step;  // 0 for a zero query
  double error;               // ≥ ‖q − q̂‖
  double offset;              // what the kernel's sum exceeds Σ c·(u − zero) by
};

struct CodedQuery {
  double norm;  // ≥ ‖q‖
  CodedStep coarse, full;
};

// All queries in one coding.
struct CodedQueries {
  size_t bytes = 0;  // of one query's codes, coarse and rest
  Buffer codes;
  std::vector<CodedQuery> queries;

  const int8_t* codes_of(uint32_t q) const { return codes.as<int8_t>() + q * bytes; }
};

struct Panel {
  uint32_t first;  // query
  uint32_t count;  // queries; the rest of the width is padding
  uint32_t width;
  const float* values;  // dimensions × width
};

struct QueryGroup {
  uint32_t first, count;
  std::vector<Panel> panels;  // none for batches too small to fill one
};

class Batch {
 public:
  Batch(const pointsman_request& request, const Kernels& kernels);

  const std::vector<QueryGroup>& groups() const { return groups_; }
  const float* query(uint32_t q) const { return request_.queries + size_t{q} * request_.stride; }
  // Of the codings that the request allows.
  const CodedQueries& coded(uint32_t coding) const { return coded_[coding]; }

 private:
  void cut(const Kernels& kernels);
  void pack(const Kernels& kernels);
  void encode(uint32_t coding, const CodeKernel& kernel);

  const pointsman_request& request_;
  std::vector<QueryGroup> groups_;
  Buffer packed_;
  CodedQueries coded_[POINTSMAN_CODINGS];
};

}  // namespace pointsman
