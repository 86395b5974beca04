// Many queries: tiles of codes times tiles of queries on the tensor cores (mma.m16n8k32, sm_80 and later),
// compared with the thresholds in registers. No sum leaves them unless it reaches its query's threshold.
//
// One block of threads takes a unit and 8·N·Halves queries, whose codes stay in shared memory in the order in
// which the instruction takes them. A warp takes a tile of 64 rows and 8·N queries: 4 × N tiles of sums, 16·N
// registers. Codes come from global memory straight into the registers: a thread's 16 bytes are four rows of
// one step, which is just what the instruction wants of it, if row 4g of the tile plays row g, row 4g + 1 row
// g + 8, and so on. The next chunk is loaded while one is multiplied.
//
// For large batches bound by the tensor cores: a warp reads 8 bytes of shared memory a lane for four
// instructions. With N = 1 bound by memory, as scan_stream is.
#pragma once

#include "bounds.cuh"

namespace pointsman::cuda {

inline constexpr uint32_t kMatrixWarps = 4;

// The codes of a tile that one lane multiplies in one chunk of eight steps: 64 rows × 32 bytes.
struct ChunkCodes {
  uint4 first_rows[2];   // rows 4g…4g+3 at step t and at t + 4
  uint4 second_rows[2];  // rows 32 + 4g… at both
};

__device__ inline ChunkCodes load_chunk(const uint4* tile, uint32_t chunk, uint32_t steps, uint32_t lane) {
  ChunkCodes codes;
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t step = chunk * kChunkSteps + i * 4 + lane % 4;
    const uint4* at = tile + step * 16 + lane / 4;
    const bool there = step < steps;
    codes.first_rows[i] = there ? __ldg(at) : uint4{0, 0, 0, 0};
    codes.second_rows[i] = there ? __ldg(at + 8) : uint4{0, 0, 0, 0};
  }
  return codes;
}

// The place in the tile of the row that is row `half`·8 + g of the instruction's tile number m.
__device__ inline uint32_t row_of(uint32_t m, uint32_t half, uint32_t lane) {
  return m / 2 * 32 + lane / 4 * 4 + m % 2 * 2 + half;
}

template <uint32_t N>
__device__ inline void multiply_chunk(int (&sums)[4][N][4], const ChunkCodes& codes, const Words* queries,
                                      uint32_t chunks) {
  const auto& [first, second] = codes;
#pragma unroll
  for (uint32_t n = 0; n < N; ++n) {
    const Words q = queries[n * chunks * kWarp];
    multiply_add_tile(sums[0][n], first[0].x, first[0].y, first[1].x, first[1].y, q.low, q.high);
    multiply_add_tile(sums[1][n], first[0].z, first[0].w, first[1].z, first[1].w, q.low, q.high);
    multiply_add_tile(sums[2][n], second[0].x, second[0].y, second[1].x, second[1].y, q.low, q.high);
    multiply_add_tile(sums[3][n], second[0].z, second[0].w, second[1].z, second[1].w, q.low, q.high);
  }
}

template <uint32_t N, uint32_t Halves>
__global__ void __launch_bounds__(kMatrixWarps* kWarp)
    scan_matrix(Scan scan, uint32_t first, uint32_t groups) {
  constexpr uint32_t kQueries = kFragmentQueries * N * Halves;
  constexpr uint32_t kTilesAtOnce = kMatrixWarps / Halves;
  const uint32_t number = unit_number(scan, first + blockIdx.x / groups);
  const uint32_t first_query = blockIdx.x % groups * kQueries;
  const Unit unit = scan.units[number];
  const uint32_t steps = scan.steps, chunks = scan.chunks;

  int* least = reinterpret_cast<int*>(shared_memory());         // [kQueries]
  Words* queries = reinterpret_cast<Words*>(least + kQueries);  // [group of 8][chunk][lane]
  int mine = INT_MAX;
  for (uint32_t q = threadIdx.x; q < kQueries; q += kMatrixWarps * kWarp) {
    const uint32_t query = first_query + q;
    least[q] = query < scan.query_count ? least_sum(scan.queries[query], scan.states[query], unit) : INT_MAX;
    mine = min(mine, least[q]);
  }
  if (__syncthreads_or(mine != INT_MAX) == 0) return;
  const uint32_t fragments = (scan.query_count + kFragmentQueries - 1) / kFragmentQueries;
  const Words* from = scan.codes + size_t{first_query / kFragmentQueries} * chunks * kWarp;
  const uint32_t there = min(N * Halves, fragments - first_query / kFragmentQueries) * chunks * kWarp;
  for (uint32_t i = threadIdx.x; i < N * Halves * chunks * kWarp; i += kMatrixWarps * kWarp) {
    queries[i] = i < there ? from[i] : Words{0, 0};
  }
  __syncthreads();

  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t own = warp % Halves * N;  // this warp's first group of eight queries
  const Words* words = queries + own * chunks * kWarp + lane;
  const int* enough = least + own * kFragmentQueries + lane % 4 * 2;
  for (uint32_t tile = warp / Halves; tile < kTiles; tile += kTilesAtOnce) {
    const uint64_t eligible = eligible_rows(scan, number, tile);
    if (eligible == 0) continue;
    const uint4* codes = reinterpret_cast<const uint4*>(unit.codes + tile * size_t{steps} * (kTileRows * 4));
    int sums[4][N][4] = {};
    ChunkCodes next = load_chunk(codes, 0, steps, lane);
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      const ChunkCodes now = next;
      if (chunk + 1 < chunks) next = load_chunk(codes, chunk + 1, steps, lane);
      multiply_chunk<N>(sums, now, words + chunk * kWarp, chunks);
    }
#pragma unroll
    for (uint32_t n = 0; n < N; ++n) {
#pragma unroll
      for (uint32_t column = 0; column < 2; ++column) {
        const int needed = enough[n * kFragmentQueries + column];
        bool any = false;
#pragma unroll
        for (uint32_t m = 0; m < 4; ++m)
          any |= sums[m][n][column] >= needed || sums[m][n][2 + column] >= needed;
        if (!any || needed == INT_MAX) continue;
        const uint32_t query = first_query + (own + n) * kFragmentQueries + lane % 4 * 2 + column;
#pragma unroll
        for (uint32_t m = 0; m < 4; ++m) {
#pragma unroll
          for (uint32_t half = 0; half < 2; ++half) {
            const int sum = sums[m][n][2 * half + column];
            const uint32_t row = row_of(m, half, lane);
            if (sum < needed || (eligible >> row & 1) == 0) continue;
            append_sum(scan, query, number, unit, tile * kTileRows + row, sum);
          }
        }
      }
    }
  }
}

}  // namespace pointsman::cuda
