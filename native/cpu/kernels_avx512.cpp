// Kernels for AVX-512 (F, BW, DQ, VL) without VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

// Codes: a register tile of 64 rows × 3 queries (24 of the 32 registers hold sums).
constexpr int kCodeQueries = 3;

inline IVec iadd(IVec a, IVec b) { return _mm512_add_epi32(a, b); }
inline IVec pairs(IVec u, IVec s) { return _mm512_maddubs_epi16(u, s); }
inline IVec add_pairs(IVec a, IVec b) { return _mm512_add_epi16(a, b); }
inline IVec widen(IVec a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }

#include "code_body.inc"
#include "pairs_body.inc"

}  // namespace

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {
    "avx512", kLanes,
    kVectors, scan,
    dots,     exact,
    code_row, {code_kernel<PairBytes>(), code_kernel<PairNibbles>(), code_kernel<PairPrefix>()}};

}  // namespace pointsman
#endif
