// The queries of one search as the kernels want them: codes of each, panels of float32, cut into groups.
#pragma once

#include <cstdint>
#include <vector>

#include "pointsman/backend.hpp"
#include "pointsman/buffer.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

// Queries of one task at most: their codes and panels stay in the second-level cache beside a page of rows.
inline constexpr uint32_t kGroupQueries = 192;
// Of any instruction set, in queries.
inline constexpr uint32_t kWidestPanel = 48;

// A query's codes as thresholds need them, all in float64.
struct CodedQuery {
  double norm;          // ≥ ‖q‖
  double error;         // ≥ ‖q − q̂‖
  double step;          // 0 for a zero query
  double inverse_step;  // 1 / step
  double offset;        // what the kernel's sum exceeds Σc·(u − 128) by
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
  const CodedQuery& code(uint32_t q) const { return coded_[q]; }
  const int8_t* codes(uint32_t q) const { return codes_.as<int8_t>() + q * code_bytes_; }
  // The same of the queries' prefixes, where the index has them.
  const CodedQuery& prefix(uint32_t q) const { return coded_prefixes_[q]; }
  const int8_t* prefix_codes(uint32_t q) const { return prefix_codes_.as<int8_t>() + q * kPrefixComponents; }

 private:
  void cut(const Kernels& kernels);
  void pack(const Kernels& kernels);
  void encode(const Kernels& kernels);

  const pointsman_request& request_;
  std::vector<QueryGroup> groups_;
  Buffer packed_;
  size_t code_bytes_ = 0;
  Buffer codes_;
  std::vector<CodedQuery> coded_;
  Buffer prefix_codes_;
  std::vector<CodedQuery> coded_prefixes_;
};

}  // namespace pointsman
