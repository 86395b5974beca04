// Stands in for CUDA's header of this name: see emulation.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "emulation.hpp"
#include "runtime_api.hpp"

#define POINTSMAN_CUDA_EMULATION 1
#define __global__
#define __device__
#define __launch_bounds__(...)

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return static_cast<size_t>(bytes) <= emulation::machine().shared_memory ? cudaSuccess
                                                                          : cudaErrorInvalidValue;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  return emulation::queue_kernel(config->stream, config->gridDim, config->blockDim, config->dynamicSmemBytes,
                                 [=] { kernel(arguments...); });
}

// ---- instructions ----

using std::max;
using std::min;

inline void __syncthreads() { emulation::barrier(0); }
inline int __syncthreads_or(int value) { return emulation::barrier(value); }

template <typename T>
T emulated_shuffle(T value, uint32_t from) {
  const auto& all = emulation::exchange(emulation::Collective::kShuffle, &value, sizeof value);
  std::memcpy(&value, all.value[from], sizeof value);
  return value;
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, uint32_t mask) {
  return emulated_shuffle(value, emulation::lane() ^ mask);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, uint32_t distance) {
  const uint32_t lane = emulation::lane();
  return emulated_shuffle(value, lane < distance ? lane : lane - distance);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  const auto& all = emulation::exchange(emulation::Collective::kVote, &vote, sizeof vote);
  unsigned bits = 0;
  for (uint32_t i = 0; i < emulation::kWarp; ++i) bits |= static_cast<unsigned>(all.value[i][0] != 0) << i;
  return bits;
}

inline uint32_t atomicAdd(uint32_t* to, uint32_t value) {
  emulation::perhaps_switch();
  const uint32_t before = *to;
  *to = before + value;
  return before;
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}
template <typename T>
T __ldcs(const T* from) {
  return *from;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline double __dadd_rn(double a, double b) {
  const double sum = a + b;
  return emulation::machine().fault == emulation::Fault::kSum ? sum * (1 + 0x1p-22) : sum;
}
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

namespace pointsman::cuda {

inline unsigned char* shared_memory() { return emulation::shared_memory(); }

inline int dot4(uint32_t unsigned_bytes, uint32_t signed_bytes, int sum) {
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<int>(unsigned_bytes >> i & 0xFF) * static_cast<int8_t>(signed_bytes >> i & 0xFF);
  }
  return sum - (emulation::machine().fault == emulation::Fault::kDot ? 1000 : 0);
}

// The fragments of mma.m16n8k32 (PTX ISA), lane by lane: byte k of row r of the first operand is in lane
// 4·(r mod 8) + (k mod 16)/4, register 2·(k/16) + r/8; byte k of column n of the second in lane
// 4·n + (k mod 16)/4, register k/16; sum i of lane 4g + t is of row g + 8·(i/2) and column 2t + i mod 2.
inline void multiply_add_tile(int (&sums)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                              uint32_t low, uint32_t high) {
  const uint32_t own[6] = {a0, a1, a2, a3, low, high};
  const auto& all = emulation::exchange(emulation::Collective::kMultiply, own, sizeof own);
  const auto word = [&](uint32_t lane, uint32_t which) {
    uint32_t value;
    std::memcpy(&value, all.value[lane] + which * sizeof value, sizeof value);
    return value;
  };
  const uint32_t lane = emulation::lane();
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (uint32_t k = 0; k < 32; k += 4) {
      const uint32_t part = k % 16 / 4;
      sums[i] =
          dot4(word(row % 8 * 4 + part, k / 16 * 2 + row / 8), word(column * 4 + part, 4 + k / 16), sums[i]);
    }
    if (emulation::machine().fault == emulation::Fault::kMultiply && row == 9) sums[i] -= 10000;
  }
}

}  // namespace pointsman::cuda
