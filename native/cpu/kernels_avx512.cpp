// Kernels for AVX-512 (F, BW, DQ, VL) without VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

// Codes: a register tile of 64 rows × 3 queries (24 of the 32 registers hold sums).
constexpr int kCodeLanes = 16;
constexpr int kCodeQueries = 3;
constexpr int code_rows(int) { return 4; }

using IVec = __m512i;

inline IVec izero() { return _mm512_setzero_si512(); }
inline IVec iload(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void istore(int32_t* p, IVec a) { _mm512_storeu_si512(p, a); }
inline IVec ibroadcast(int32_t x) { return _mm512_set1_epi32(x); }
inline uint32_t at_least_int(IVec a, IVec b) { return _mm512_cmpge_epi32_mask(a, b); }
inline IVec iadd(IVec a, IVec b) { return _mm512_add_epi32(a, b); }
inline IVec pairs(IVec u, IVec s) { return _mm512_maddubs_epi16(u, s); }
inline IVec add_pairs(IVec a, IVec b) { return _mm512_add_epi16(a, b); }
inline IVec widen(IVec a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }
inline IVec low_nibbles(IVec x) { return _mm512_and_si512(x, _mm512_set1_epi8(0x0F)); }
inline IVec high_nibbles(IVec x) { return low_nibbles(_mm512_srli_epi16(x, 4)); }

#include "code_body.inc"
#include "pairs_body.inc"

}  // namespace

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {"avx512",
                                kLanes,
                                kVectors,
                                scan,
                                dots,
                                exact,
                                {{16, 128, scan_codes<PairBytes<16>>},
                                 {PairNibbles::kLimit, 8, scan_codes<PairNibbles>},
                                 {64, 128, scan_codes<PairBytes<64>>}}};

}  // namespace pointsman
#endif
