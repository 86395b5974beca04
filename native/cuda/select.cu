// After a scan, one block of threads a query: the k-th largest lower bound becomes the threshold, what it
// excludes goes, what is left is scored by the definition where that is due, and cut to the k best by (score
// falling, handle rising). With results asked for, these are sorted and written.
//
// Bound by latency: some tens to thousands of candidates a query, in the second-level cache.
#include <cmath>

#include "bounds.cuh"
#include "exact.cuh"
#include "kernels.hpp"

namespace pointsman::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarp;
constexpr uint32_t kBins = 256;

struct Shared {
  uint32_t bins[kBins];
  uint32_t warp_counts[kWarps];
  uint64_t prefix;
  uint32_t remaining;
  uint32_t pad;
};

// Unsigned integers in the order of the floats.
__device__ uint32_t ordered(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
__device__ float from_ordered(uint32_t key) {
  return __uint_as_float(key & 0x80000000 ? key & 0x7FFFFFFF : ~key);
}
// Larger is better.
__device__ uint64_t rank_of(float score, uint32_t handle) {
  return static_cast<uint64_t>(ordered(score)) << 32 | static_cast<uint32_t>(~handle);
}

// The k-th largest of n keys of `Bits` bits, k ≤ n: eight bits at a time, from the highest.
template <int Bits, typename Key>
__device__ uint64_t kth_largest(uint32_t n, uint32_t k, const Key& key, Shared& shared) {
  uint64_t prefix = 0;
  uint32_t remaining = k;
  for (int shift = Bits - 8; shift >= 0; shift -= 8) {
    shared.bins[threadIdx.x] = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
      const uint64_t value = key(i);
      if (shift + 8 == Bits || value >> (shift + 8) == prefix >> (shift + 8)) {
        atomicAdd(&shared.bins[value >> shift & 0xFF], 1u);
      }
    }
    __syncthreads();
    if (threadIdx.x < kWarp) {  // each lane sums eight bins, from the highest down
      constexpr uint32_t kEach = kBins / kWarp;
      const uint32_t top = kBins - 1 - threadIdx.x * kEach;
      uint32_t own = 0;
      for (uint32_t i = 0; i < kEach; ++i) own += shared.bins[top - i];
      uint32_t upto = own;
      for (uint32_t distance = 1; distance < kWarp; distance *= 2) {
        const uint32_t lower = __shfl_up_sync(kWholeWarp, upto, distance);
        if (threadIdx.x >= distance) upto += lower;
      }
      const uint32_t reaching = __ballot_sync(kWholeWarp, upto >= remaining);
      if (threadIdx.x == static_cast<uint32_t>(__ffs(static_cast<int>(reaching))) - 1) {
        uint32_t left = remaining - (upto - own), bin = top;
        while (shared.bins[bin] < left) left -= shared.bins[bin--];
        shared.prefix = prefix | static_cast<uint64_t>(bin) << shift;
        shared.remaining = left;
      }
    }
    __syncthreads();
    prefix = shared.prefix;
    remaining = shared.remaining;
    __syncthreads();
  }
  return prefix;
}

// Moves those for which `keep` holds to the front; returns how many there are.
template <typename Keep>
__device__ uint32_t compact(Candidate* candidates, uint32_t n, const Keep& keep, Shared& shared) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  uint32_t base = 0;
  for (uint32_t start = 0; start < n; start += kThreads) {
    const uint32_t i = start + threadIdx.x;
    Candidate candidate{};
    bool stays = false;
    if (i < n) {
      candidate = candidates[i];
      stays = keep(candidate);
    }
    const uint32_t staying = __ballot_sync(kWholeWarp, stays);
    if (lane == 0) shared.warp_counts[warp] = static_cast<uint32_t>(__popc(staying));
    __syncthreads();
    uint32_t place = base + static_cast<uint32_t>(__popc(staying & ((1u << lane) - 1)));
    for (uint32_t w = 0; w < kWarps; ++w) {
      if (w < warp) place += shared.warp_counts[w];
      base += shared.warp_counts[w];
    }
    if (stays) candidates[place] = candidate;  // not behind where it was, and all here have been read
    __syncthreads();
  }
  return base;
}

__device__ void score_all(const Selection& selection, uint32_t query, Candidate* candidates, uint32_t n) {
  const float* vector = selection.vectors + size_t{query} * selection.stride;
  for (uint32_t start = 0; start < n; start += kThreads / kLanes) {
    const uint32_t i = start + threadIdx.x / kLanes;
    const Candidate& candidate = candidates[i < n ? i : 0];
    const Unit& unit = selection.units[candidate.row / kCodePage];
    const float score = exact_score(unit.rows + size_t{candidate.row % kCodePage} * selection.stride, vector,
                                    selection.stride);
    if (i < n && threadIdx.x % kLanes == 0) candidates[i].lower = candidates[i].upper = score;
  }
  __syncthreads();
}

// Sorts the n ranks of shared memory, n ≤ size, a power of two, falling; the rest is filled with zeros.
__device__ void sort_falling(uint64_t* ranks, uint32_t n, uint32_t size) {
  for (uint32_t i = n + threadIdx.x; i < size; i += kThreads) ranks[i] = 0;
  for (uint32_t run = 2; run <= size; run *= 2) {
    for (uint32_t distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (uint32_t i = threadIdx.x; i < size / 2; i += kThreads) {
        const uint32_t low = i / distance * distance * 2 + i % distance, high = low + distance;
        const bool falling = (low & run) == 0;
        if ((ranks[low] < ranks[high]) == falling) {
          const uint64_t other = ranks[low];
          ranks[low] = ranks[high];
          ranks[high] = other;
        }
      }
    }
  }
  __syncthreads();
}

__device__ uint32_t sort_size(uint32_t n) {
  uint32_t size = 2;
  while (size < n) size *= 2;
  return size;
}

__global__ void __launch_bounds__(kThreads) select(Selection selection) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  uint64_t* ranks = reinterpret_cast<uint64_t*>(&shared + 1);
  const uint32_t query = blockIdx.x, k = selection.k;
  QueryState state = selection.states[query];
  __syncthreads();  // all have read it before one changes it
  if (state.stopped != 0) return;
  Candidate* candidates = selection.candidates + size_t{query} * selection.capacity;
  uint32_t n = min(state.count, selection.capacity);

  if (n >= k) {
    const auto lower = [&](uint32_t i) { return static_cast<uint64_t>(ordered(candidates[i].lower)); };
    const float reached = from_ordered(static_cast<uint32_t>(kth_largest<32>(n, k, lower, shared)));
    if (reached > state.tau) {
      state.tau = reached;
      state.worst = UINT32_MAX;
    }
  }
  if (state.count > selection.capacity) {
    // Some were lost: the range is to be scanned again, with the threshold that the others give.
    state.count = state.kept;
    state.stopped = 1;
    if (threadIdx.x == 0) selection.states[query] = state;
    return;
  }
  n = compact(
      candidates, n, [&](const Candidate& c) { return matters(c.upper, c.handle, state.tau, state.worst); },
      shared);
  if (n > selection.settle_from || selection.scores != nullptr) {
    score_all(selection, query, candidates, n);
    if (n >= k) {
      const auto rank = [&](uint32_t i) { return rank_of(candidates[i].lower, candidates[i].handle); };
      const uint64_t last = kth_largest<64>(n, k, rank, shared);
      n = compact(
          candidates, n, [&](const Candidate& c) { return rank_of(c.lower, c.handle) >= last; }, shared);
      state.tau = from_ordered(static_cast<uint32_t>(last >> 32));
      state.worst = ~static_cast<uint32_t>(last);
    }
  }
  state.count = state.kept = n;
  if (threadIdx.x == 0) selection.states[query] = state;
  if (selection.scores == nullptr) return;

  for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
    ranks[i] = rank_of(candidates[i].lower, candidates[i].handle);
  }
  sort_falling(ranks, n, sort_size(n));
  for (uint32_t i = threadIdx.x; i < n; i += kThreads) {
    selection.scores[size_t{query} * k + i] = from_ordered(static_cast<uint32_t>(ranks[i] >> 32));
    selection.handles[size_t{query} * k + i] = ~static_cast<uint32_t>(ranks[i]);
  }
}

}  // namespace

cudaError_t launch_select(const Selection& selection, cudaStream_t stream) {
  uint32_t size = 2;
  while (size < selection.k) size *= 2;
  const size_t ranks = selection.scores == nullptr ? 0 : size * sizeof(uint64_t);
  return launch(select, dim3(selection.query_count), kThreads, sizeof(Shared) + ranks, stream, selection);
}

}  // namespace pointsman::cuda
