// Which rows are searched: those that are not dead and that the filter lets through. One block of threads a
// unit, one thread a row; bound by reading 4 bytes of handle a row (the codes are 128 at 128 dimensions).
#include "intrinsics.cuh"
#include "kernels.hpp"

namespace pointsman::cuda {
namespace {

__global__ void eligible_of(const Unit* units, const uint64_t* filter, uint32_t filter_handles,
                            uint32_t* eligible, uint32_t* counts) {
  const Unit unit = units[blockIdx.x];
  const uint32_t row = threadIdx.x;
  bool in = row < unit.count;
  if (in && unit.dead != nullptr) in = (unit.dead[row / 64] >> (row % 64) & 1) == 0;
  if (in && filter != nullptr) {
    const uint32_t handle = unit.handles[row];
    in = handle < filter_handles && (filter[handle / 64] >> (handle % 64) & 1) != 0;
  }
  const uint32_t bits = __ballot_sync(kWholeWarp, in);
  if (row % kWarp != 0) return;
  eligible[size_t{blockIdx.x} * (kCodePage / kWarp) + row / kWarp] = bits;
  if (bits != 0) atomicAdd(&counts[blockIdx.x], static_cast<uint32_t>(__popc(bits)));
}

}  // namespace

cudaError_t launch_eligible(const Unit* units, uint32_t count, const uint64_t* filter,
                            uint32_t filter_handles, uint64_t* eligible, uint32_t* counts,
                            cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  if (const cudaError_t error = cudaMemsetAsync(counts, 0, count * sizeof *counts, stream)) return error;
  // Two halves of 32 rows are one little-endian word of 64.
  return launch(eligible_of, dim3(count), kCodePage, 0, stream, units, filter, filter_handles,
                reinterpret_cast<uint32_t*>(eligible), counts);
}

}  // namespace pointsman::cuda
