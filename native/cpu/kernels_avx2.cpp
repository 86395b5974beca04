// Kernels for AVX2 + FMA: a register tile of 4 rows × 3 vectors of 8 queries (12 of the 16 registers).
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

constexpr int kLanes = 8;
constexpr int kRows = 4;
constexpr int kVectors = 3;

using Vec = __m256;

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec broadcast(float x) { return _mm256_set1_ps(x); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
inline Vec fma(Vec a, Vec b, Vec acc) { return _mm256_fmadd_ps(a, b, acc); }
inline uint32_t at_least(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
inline float sum(Vec a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#include "kernel_body.inc"

#include "encode_body.inc"

// Codes: a register tile of 16 rows × 4 queries with many queries; of 64 rows with one, which is bound by
// memory.
constexpr int kCodeLanes = 8;
constexpr int kCodeQueries = 4;
constexpr int code_rows(int queries) { return queries == 1 ? 8 : 2; }

using IVec = __m256i;

inline IVec izero() { return _mm256_setzero_si256(); }
inline IVec iload(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void istore(int32_t* p, IVec a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
inline IVec ibroadcast(int32_t x) { return _mm256_set1_epi32(x); }
inline uint32_t at_least_int(IVec a, IVec b) {
  return ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)))) & 0xFF;
}
template <int R>
inline bool any_at_least(const IVec* a, IVec b) {
  IVec largest = a[0];
  repeat<R - 1>(POINTSMAN_UNROLLED(r) { largest = _mm256_max_epi32(largest, a[r + 1]); });
  return _mm256_movemask_epi8(_mm256_cmpgt_epi32(b, largest)) != -1;
}
inline IVec iadd(IVec a, IVec b) { return _mm256_add_epi32(a, b); }
inline IVec pairs(IVec u, IVec s) { return _mm256_maddubs_epi16(u, s); }
// As an instruction of its own: GCC 12 turns a chain of these additions into a tree, and spills what that
// keeps alive.
inline IVec add_pairs(IVec a, IVec b) {
  __asm__("vpaddw %1, %0, %0" : "+x"(a) : "x"(b));
  return a;
}
inline IVec widen(IVec a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
constexpr int kByteZero = 128;
inline IVec byte_rows(IVec x) { return x; }
inline IVec low_nibbles(IVec x) { return _mm256_and_si256(x, _mm256_set1_epi8(0x0F)); }
inline IVec high_nibbles(IVec x) { return low_nibbles(_mm256_srli_epi16(x, 4)); }

#include "code_body.inc"
#include "pairs_body.inc"

float exact(const float* a, const float* b, uint32_t stride) {
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  for (uint32_t i = 0; i < stride; i += 8) {
    low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(a + i)), _mm256_cvtps_pd(_mm_loadu_ps(b + i)), low);
    high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(a + i + 4)), _mm256_cvtps_pd(_mm_loadu_ps(b + i + 4)),
                           high);
  }
  double lane[8];
  _mm256_storeu_pd(lane, low);
  _mm256_storeu_pd(lane + 4, high);
  return fold_lanes(lane);
}

}  // namespace

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = {
    "avx2",   kLanes,
    kVectors, scan,
    dots,     exact,
    code_row, {code_kernel<PairBytes>(), code_kernel<PairNibbles>(), code_kernel<PairPrefix>()}};

}  // namespace pointsman
#endif
