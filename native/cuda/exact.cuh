// The promised score on the device: the float64 sum in eight lanes, folded as ((0+4)+(2+6))+((1+5)+(3+7)), −0
// made +0, rounded to float32. Eight threads compute one score, each being a lane of the definition.
#pragma once

#include "intrinsics.cuh"

namespace pointsman::cuda {

inline constexpr uint32_t kLanes = 8;

// By a whole warp: four scores at once, one for each eight threads. The product of two float32 is exact in
// float64, so that the fused form rounds where the definition does: once, at the sum.
__device__ inline float exact_score(const float* row, const float* query, uint32_t stride) {
  double sum = 0;
#pragma unroll 4
  for (uint32_t i = threadIdx.x % kLanes; i < stride; i += kLanes) {
    sum = __fma_rn(static_cast<double>(row[i]), static_cast<double>(query[i]), sum);
  }
  sum = __dadd_rn(sum, __shfl_xor_sync(kWholeWarp, sum, 4));
  sum = __dadd_rn(sum, __shfl_xor_sync(kWholeWarp, sum, 2));
  sum = __dadd_rn(sum, __shfl_xor_sync(kWholeWarp, sum, 1));
  const float score = __double2float_rn(sum);
  return score == 0 ? 0.0f : score;
}

}  // namespace pointsman::cuda
