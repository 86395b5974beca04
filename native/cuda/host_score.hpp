// The promised score on the host, for indexes whose rows are not on the device.
#pragma once

#include <vector>

#include "cuda/views.hpp"

namespace pointsman::cuda {

// Scores the candidates that have no score yet and leaves the k best, best first. `rows`: of each unit.
void best_of(std::vector<Candidate>& candidates, const std::vector<const float*>& rows, const float* query,
             uint32_t stride, uint32_t k);

// The definition: see pointsman/kernels.hpp.
float host_score(const float* row, const float* query, uint32_t stride);

}  // namespace pointsman::cuda
