// Kernels for AVX-512 with VNNI: float32 as without, and codes by vpdpbusd, a register tile of 64 rows × 6
// queries (24 sums, 4 vectors of rows, 1 broadcast: 29 of 32 registers) with 10 loads for 24 products.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

constexpr int kCodeQueries = 6;

// GCC 12 copies the accumulator before each _mm512_dpbusd_epi32 and spills half of them; the instruction
// itself doesn't.
inline IVec dot4(IVec acc, IVec u, IVec s) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
  return acc;
}

#include "code_body.inc"
#include "dot4_body.inc"

}  // namespace

extern const Kernels kAvx512VnniKernels;
const Kernels kAvx512VnniKernels = {
    "avx512vnni",
    kLanes,
    kVectors,
    scan,
    dots,
    exact,
    code_row,
    {code_kernel<Dots<ByteRows>>(), code_kernel<Dots<NibbleRows>>(), code_kernel<DotsPrefix>()}};

}  // namespace pointsman
#endif
