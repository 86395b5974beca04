// Kernels for AVX-512 with VNNI: float32 as without, and codes by vpdpbusd, a register tile of 64 rows × 6
// queries (24 sums, 4 vectors of rows, 1 broadcast: 29 of 32 registers) with 10 loads for 24 products.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

constexpr int kCodeLanes = 16;
constexpr int kCodeQueries = 6;
constexpr int code_rows(int) { return 4; }

using IVec = __m512i;

inline IVec izero() { return _mm512_setzero_si512(); }
inline IVec iload(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void istore(int32_t* p, IVec a) { _mm512_storeu_si512(p, a); }
inline IVec ibroadcast(int32_t x) { return _mm512_set1_epi32(x); }
inline uint32_t at_least_int(IVec a, IVec b) { return _mm512_cmpge_epi32_mask(a, b); }
// GCC 12 copies the accumulator before each _mm512_dpbusd_epi32 and spills half of them; the instruction
// itself doesn't.
inline IVec dot4(IVec acc, IVec u, IVec s) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
  return acc;
}
inline IVec low_nibbles(IVec x) { return _mm512_and_si512(x, _mm512_set1_epi8(0x0F)); }
inline IVec high_nibbles(IVec x) { return low_nibbles(_mm512_srli_epi16(x, 4)); }

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
    {{127, 128, scan_codes<Bytes>}, {127, 8, scan_codes<Nibbles>}, {127, 128, scan_codes<Bytes>}}};

}  // namespace pointsman
#endif
