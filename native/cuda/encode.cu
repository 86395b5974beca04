// Queries as signed bytes: one warp a query. As core/codes.cpp does it, with |c| ≤ 127; the order of the sums
// differs, which their slack covers.
#include "intrinsics.cuh"
#include "kernels.hpp"

namespace pointsman::cuda {
namespace {

constexpr uint32_t kThreads = 128;
constexpr int kLimit = 127;
constexpr double kUp = 1 + 0x1p-38;  // more than the rounding of a float64 sum of 4096 squares and its root

__device__ int nearest(double x) { return static_cast<int>(x + (x < 0 ? -0.5 : 0.5)); }

__global__ void encode(const float* vectors, const float* norms, uint32_t count, uint32_t stride,
                       uint32_t chunks, CodedQuery* queries, Words* codes) {
  const uint32_t query = (blockIdx.x * kThreads + threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t padded = (count + kFragmentQueries - 1) / kFragmentQueries * kFragmentQueries;
  if (query >= padded) return;
  const bool there = query < count;
  const float* values = vectors + size_t{query} * stride;

  float largest = 0;
  for (uint32_t i = lane; there && i < stride; i += kWarp) largest = fmaxf(largest, fabsf(values[i]));
  for (uint32_t other = kWarp / 2; other > 0; other /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, other));
  }
  const double step = static_cast<double>(largest) / kLimit;

  double error = 0;
  int code_sum = 0;
  const uint32_t words = chunks * kChunkSteps;
  uint32_t* to = reinterpret_cast<uint32_t*>(codes + size_t{query / kFragmentQueries} * chunks * kWarp);
  for (uint32_t word = lane; word < words; word += kWarp) {
    uint32_t packed = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t at = word * 4 + i;
      if (largest == 0 || at >= stride) continue;
      const double value = values[at];
      const int code = max(-kLimit, min(kLimit, nearest(value / step)));
      const double missed = value - step * code;
      error += missed * missed;
      code_sum += code;
      packed |= (static_cast<uint32_t>(code) & 0xFF) << (8 * i);
    }
    const uint32_t chunk = word / kChunkSteps, inside = word % kChunkSteps;
    const uint32_t holder = query % kFragmentQueries * 4 + inside % 4;
    to[(size_t{chunk} * kWarp + holder) * 2 + inside / 4] = packed;
  }
  for (uint32_t other = kWarp / 2; other > 0; other /= 2) {
    error += __shfl_xor_sync(kWholeWarp, error, other);
    code_sum += __shfl_xor_sync(kWholeWarp, code_sum, other);
  }
  if (lane == 0 && there) {
    queries[query] = {norms[query], sqrt(error) * kUp, step, largest == 0 ? 0 : 1 / step, 128.0 * code_sum};
  }
}

}  // namespace

cudaError_t launch_encode(const float* vectors, const float* norms, uint32_t count, uint32_t dimensions,
                          uint32_t stride, CodedQuery* queries, Words* codes, cudaStream_t stream) {
  const uint32_t padded = (count + kFragmentQueries - 1) / kFragmentQueries * kFragmentQueries;
  return launch(encode, dim3((padded * kWarp + kThreads - 1) / kThreads), kThreads, 0, stream, vectors, norms,
                count, stride, chunks_of(dimensions), queries, codes);
}

}  // namespace pointsman::cuda
