// Units without codes: the last rows of a block, fewer than 1024, each scored by the definition. One block of
// threads for a unit and a query, eight threads a row.
#include "bounds.cuh"
#include "exact.cuh"
#include "kernels.hpp"

namespace pointsman::cuda {
namespace {

constexpr uint32_t kThreads = 256;

__global__ void scan_tails(Scan scan, uint32_t first) {
  const uint32_t number = unit_number(scan, first + blockIdx.x), query = blockIdx.y;
  const Unit unit = scan.units[number];
  if (scan.states[query].stopped != 0) return;
  const float* vector = scan.vectors + size_t{query} * scan.stride;
  for (uint32_t start = 0; start < unit.count; start += kThreads / kLanes) {
    const uint32_t row = start + threadIdx.x / kLanes;
    const bool there = row < unit.count;
    const float score = exact_score(unit.rows + size_t{there ? row : 0} * scan.stride, vector, scan.stride);
    if (!there || threadIdx.x % kLanes != 0) continue;
    if ((eligible_rows(scan, number, row / kTileRows) >> (row % kTileRows) & 1) == 0) continue;
    append(scan, query, {score, score, number * kCodePage + row, unit.handles[row]});
  }
}

}  // namespace

cudaError_t launch_tails(const Scan& scan, uint32_t first, uint32_t end, cudaStream_t stream) {
  // y counts to 65,535; the search takes fewer queries at a time.
  return launch(scan_tails, dim3(end - first, scan.query_count), kThreads, 0, stream, scan, first);
}

}  // namespace pointsman::cuda
