// Kernels for AVX-512 with VNNI: float32 as without, and codes by vpdpbusd, a register tile of 64 rows × 6
// queries (24 sums, 4 vectors of rows, 1 broadcast: 29 of 32 registers) with 10 loads for 24 products.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

constexpr int kCodeLimit = 127;
constexpr int kCodeZero = 0;
constexpr int kCodeLanes = 16;
constexpr int kCodeRows = 4;
constexpr int kCodeQueries = 6;

using IVec = __m512i;

inline IVec izero() { return _mm512_setzero_si512(); }
inline IVec iload(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void istore(int32_t* p, IVec a) { _mm512_storeu_si512(p, a); }
inline IVec ibroadcast(int32_t x) { return _mm512_set1_epi32(x); }
// GCC 12 copies the accumulator before each _mm512_dpbusd_epi32 and spills half of them; the instruction
// itself doesn't.
inline IVec dot4(IVec acc, IVec u, IVec s) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
  return acc;
}
inline uint32_t at_least_int(IVec a, IVec b) { return _mm512_cmpge_epi32_mask(a, b); }

#include "code_body.inc"

}  // namespace

extern const Kernels kAvx512VnniKernels;
const Kernels kAvx512VnniKernels = {"avx512vnni", kLanes,     kVectors,  scan,      dots,
                                    exact,        kCodeLimit, kCodeZero, scan_codes};

}  // namespace pointsman
#endif
