// The inner loops of solving many small symmetric systems A x = b, one for each user and each expert: sums of
// outer products, a Cholesky factorisation, two triangular solves. Plain functions over raw pointers, one set
// of them for each instruction set (native/cpu/kernels_solve_*.cpp).
//
// Every element has one order of additions and every multiply-add is fused, so all sets return the same bits.
// A matrix is `stride` × `stride`, row-major; only what is on or right of the diagonal means anything.
// `stride` is a multiple of 16, all pointers are aligned to 64 bytes. No standard templates here, see
// kernels.hpp.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pointsman/lanes.hpp"

namespace pointsman {

struct SolveKernels {
  const char* name;

  // For each of `count` entries e: packed[e] = √weights[e] · table[ids[e]] (rows of `stride`), and
  // b += weights[e] · table[ids[e]]. `weights` may be null: all 1.
  void (*gather)(const float* table, const uint32_t* ids, const float* weights, uint32_t count,
                 uint32_t stride, float* packed, float* b);

  // matrix += Σ_e rows[e] rows[e]ᵀ. The sum over the call is rounded before it is added.
  void (*add_outer)(const float* rows, uint32_t count, uint32_t stride, float* matrix);

  // matrix = Uᵀ U in place, inverse[i] = 1 / U_ii; `scratch` has room for `stride`. False (and the matrix
  // spoilt) where a pivot lost more than 2^14 of its size: then float32 is too short for it.
  bool (*factor)(float* matrix, uint32_t stride, float* inverse, float* scratch);

  // b = U⁻¹ U⁻ᵀ b.
  void (*solve)(const float* factor, const float* inverse, uint32_t stride, float* b);

  // out += Σ_e values[e] · table[ids[e]], term by term in the order of e (rows of any `width`, any
  // alignment); unlike the rest, each product is rounded before it is added.
  void (*add_rows)(const float* table, const uint32_t* ids, const float* values, size_t count, uint32_t width,
                   float* out);
};

// Those that go with active_kernels() (isa.hpp). Throws UNKNOWN_ISA as it does.
const SolveKernels& solve_kernels();

}  // namespace pointsman
