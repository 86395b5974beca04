#include "cuda/host_score.hpp"

#include <algorithm>

#include "pointsman/lanes.hpp"

namespace pointsman::cuda {

float host_score(const float* row, const float* query, uint32_t stride) {
  const auto score = static_cast<float>(dot(row, query, stride));
  return score == 0 ? 0.0f : score;
}

void best_of(std::vector<Candidate>& candidates, const std::vector<const float*>& rows, const float* query,
             uint32_t stride, uint32_t k) {
  for (Candidate& candidate : candidates) {
    if (candidate.lower == candidate.upper) continue;  // scored
    const float* row = rows[candidate.row / kCodePage] + size_t{candidate.row % kCodePage} * stride;
    candidate.lower = candidate.upper = host_score(row, query, stride);
  }
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.lower != b.lower ? a.lower > b.lower : a.handle < b.handle;
  };
  const size_t keep = std::min<size_t>(k, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(keep), candidates.end(),
                    better);
  candidates.resize(keep);
}

}  // namespace pointsman::cuda
