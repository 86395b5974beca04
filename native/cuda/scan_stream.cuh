// Few queries: units are read once for all of them, at memory speed. One block of threads a unit, a warp a
// tile at a time; no tensor cores.
//
// A step of a tile is 256 bytes, four for each of 64 rows: 16 threads take four rows each (16 bytes), the two
// halves of a warp take even and odd steps, so that a warp's load is 512 bytes in a stretch. Each word meets
// each query in one dp4a; the query's words come from shared memory, one address a half warp. Bound by
// memory: at 128 dimensions 4·Q dp4a for 16 bytes. Q queries a block.
#pragma once

#include "bounds.cuh"

namespace pointsman::cuda {

inline constexpr uint32_t kStreamThreads = 256;

template <uint32_t Q>
__global__ void __launch_bounds__(kStreamThreads) scan_stream(Scan scan, uint32_t first, uint32_t groups) {
  const uint32_t number = unit_number(scan, first + blockIdx.x / groups);
  const uint32_t first_query = blockIdx.x % groups * Q;
  const Unit unit = scan.units[number];
  const uint32_t steps = scan.steps, chunks = scan.chunks;

  int* least = reinterpret_cast<int*>(shared_memory());                    // [Q]
  uint32_t* words = reinterpret_cast<uint32_t*>(least) + (Q + 3) / 4 * 4;  // [step][Q]
  if (threadIdx.x < Q) {
    const uint32_t query = first_query + threadIdx.x;
    least[threadIdx.x] =
        query < scan.query_count ? least_sum(scan.queries[query], scan.states[query], unit) : INT_MAX;
  }
  for (uint32_t i = threadIdx.x; i < steps * Q; i += kStreamThreads) {
    const uint32_t step = i / Q, query = first_query + i % Q;
    if (query >= scan.query_count) {
      words[i] = 0;
      continue;
    }
    const Words both = scan.codes[(size_t{query / kFragmentQueries} * chunks + step / kChunkSteps) * kWarp +
                                  query % kFragmentQueries * 4 + step % 4];
    words[i] = step / 4 % 2 == 0 ? both.low : both.high;
  }
  __syncthreads();
  bool any = false;
  for (uint32_t q = 0; q < Q; ++q) any |= least[q] != INT_MAX;
  if (!any) return;

  const uint32_t lane = threadIdx.x % kWarp, half = lane / 16, four = lane % 16;
  for (uint32_t tile = threadIdx.x / kWarp; tile < kTiles; tile += kStreamThreads / kWarp) {
    const uint64_t eligible = eligible_rows(scan, number, tile);
    if (eligible == 0) continue;
    const uint4* codes = reinterpret_cast<const uint4*>(unit.codes + tile * size_t{steps} * (kTileRows * 4));
    int sums[4][Q] = {};
#pragma unroll 8
    for (uint32_t step = half; step < steps; step += 2) {
      const uint4 rows = __ldcs(codes + step * 16 + four);
#pragma unroll
      for (uint32_t q = 0; q < Q; ++q) {
        const uint32_t word = words[step * Q + q];
        sums[0][q] = dot4(rows.x, word, sums[0][q]);
        sums[1][q] = dot4(rows.y, word, sums[1][q]);
        sums[2][q] = dot4(rows.z, word, sums[2][q]);
        sums[3][q] = dot4(rows.w, word, sums[3][q]);
      }
    }
#pragma unroll
    for (uint32_t q = 0; q < Q; ++q) {
      const int enough = least[q];
#pragma unroll
      for (uint32_t r = 0; r < 4; ++r) {
        const int sum = sums[r][q] + __shfl_xor_sync(kWholeWarp, sums[r][q], 16);
        const uint32_t row = four * 4 + r;
        // Each half appends two of the four rows; INT_MAX is more than any sum.
        if (r / 2 == half && sum >= enough && (eligible >> row & 1) != 0) {
          append_sum(scan, first_query + q, number, unit, tile * kTileRows + row, sum);
        }
      }
    }
  }
}

}  // namespace pointsman::cuda
