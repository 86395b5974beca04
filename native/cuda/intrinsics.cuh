// The few things that kernels need of the device beyond C++: each in one place, so that the emulation of
// native/test/cuda_emulation can stand in for it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pointsman::cuda {

inline constexpr uint32_t kWarp = 32;
inline constexpr uint32_t kWholeWarp = 0xFFFFFFFF;

#ifndef POINTSMAN_CUDA_EMULATION

// The block's dynamic shared memory, aligned to 16 bytes.
__device__ inline unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}

// sum + the products of four unsigned and four signed bytes.
__device__ inline int dot4(uint32_t unsigned_bytes, uint32_t signed_bytes, int sum) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(unsigned_bytes), "r"(signed_bytes), "r"(sum));
  return result;
}

// A 16 × 32 tile of unsigned bytes times a 32 × 8 tile of signed bytes, added to a 16 × 8 tile; by the whole
// warp. Lane 4g + t holds
//   a0…a3: bytes 4t…4t+3 of row g, of row g + 8, then bytes 16+4t… of both;  b.low, b.high: bytes 4t… and
//   16+4t… of column g;  sums: columns 2t, 2t+1 of row g, then of row g + 8
// (PTX ISA, matrix fragments for mma.m16n8k32).
__device__ inline void multiply_add_tile(int (&sums)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                         uint32_t low, uint32_t high) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(low), "r"(high));
}

#endif

}  // namespace pointsman::cuda
