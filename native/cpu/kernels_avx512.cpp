// Kernels for AVX-512 (F, BW, DQ, VL): a register tile of 8 rows × 3 vectors of 16 queries (24 of 32 registers),
// row elements broadcast by the multiply-add's own memory operand.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

constexpr int kLanes = 16;
constexpr int kRows = 8;
constexpr int kVectors = 3;

using Vec = __m512;

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec broadcast(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
inline Vec fma(Vec a, Vec b, Vec acc) { return _mm512_fmadd_ps(a, b, acc); }
inline uint32_t at_least(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline float sum(Vec a) {
  const __m256 low = _mm512_castps512_ps256(a);
  const __m256 high = _mm512_extractf32x8_ps(a, 1);
  const __m256 half = _mm256_add_ps(low, high);
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#include "kernel_body.inc"

float exact(const float* a, const float* b, uint32_t stride) {
  __m512d acc = _mm512_setzero_pd();
  for (uint32_t i = 0; i < stride; i += 8) {
    acc = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i)), _mm512_cvtps_pd(_mm256_loadu_ps(b + i)), acc);
  }
  double lane[8];
  _mm512_storeu_pd(lane, acc);
  return fold_lanes(lane);
}

}  // namespace

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {"avx512", kLanes, kVectors, scan, dots, exact};

}  // namespace pointsman
#endif
