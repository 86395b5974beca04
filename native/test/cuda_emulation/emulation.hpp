// An emulation of as much of CUDA as native/cuda uses, so that its sources run, compiled as plain C++, where
// there is no GPU. It is there to find mistakes, not to be fast:
//
// - Threads of a block are fibers, of two blocks at a time; which runs next, whenever one waits or is about
// to do
//   something atomic, is drawn from a seed. Warps must come to shuffles, votes and matrix instructions whole.
// - Fresh memory, of device and blocks, holds a pattern that is no plausible value. Device memory is the
// heap's, so
//   AddressSanitizer finds accesses out of bounds and after the end.
// - What is queued on a stream runs late: when it is waited for, or, by the seed's choice, earlier.
// - Any call can be made to fail.
//
// It knows nothing of time, of caches, of memory that is merely slow to become visible, and of races between
// plain accesses that no switch of fibers separates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "runtime_api.hpp"

namespace emulation {

// ---- for tests ----

// Back to a fresh, healthy device; fibers and streams go on with this seed.
void reset(uint64_t seed = 1);
// The n-th call from now on that can fail does, n ≥ 1; 0: none. An error that a device does not recover from
// stays.
void fail_at(uint64_t n, cudaError_t error);
uint64_t calls();  // that could have failed, since reset
// What the device says of itself.
enum class Fault { kNone, kMultiply, kDot, kSum };
struct Machine {
  Fault fault = Fault::kNone;  // in the matrix instruction, in dp4a, in float64 sums
  int devices = 1;
  cudaError_t driver = cudaSuccess;  // of cudaGetDeviceCount
  int driver_version = 13000;
  int major = 9, minor = 0;
  size_t memory = size_t{1} << 30;
  size_t shared_memory = 227 * 1024;
};
Machine& machine();
size_t allocated();  // bytes of device memory

// ---- for cuda_runtime.h ----

inline constexpr uint32_t kWarp = 32;
inline constexpr size_t kMostExchanged = 48;

// Everything that the lanes of a warp bring to a collective instruction.
struct Exchange {
  unsigned char value[kWarp][kMostExchanged];
};
enum class Collective { kShuffle, kVote, kMultiply, kSync };

// Brings a value to a collective and waits for the whole warp.
const Exchange& exchange(Collective kind, const void* value, size_t bytes);
uint32_t lane();
// Waits for all threads of the block; the or of what they bring.
int barrier(int value);
// Others may run before what follows.
void perhaps_switch();
unsigned char* shared_memory();
// Queues a kernel: `body` is one thread of it.
cudaError_t queue_kernel(cudaStream_t stream, dim3 grid, dim3 block, size_t shared,
                         std::function<void()> body);

}  // namespace emulation
