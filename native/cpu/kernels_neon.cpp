// Kernels for NEON (Advanced SIMD, in every arm64 processor): a register tile of 8 rows × 3 vectors of 4 queries.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

constexpr int kLanes = 4;
constexpr int kRows = 8;
constexpr int kVectors = 3;

using Vec = float32x4_t;

inline Vec zero() { return vdupq_n_f32(0); }
inline Vec broadcast(float x) { return vdupq_n_f32(x); }
inline Vec load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, Vec a) { vst1q_f32(p, a); }
inline Vec fma(Vec a, Vec b, Vec acc) { return vfmaq_f32(acc, a, b); }
inline uint32_t at_least(Vec a, Vec b) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), bit));
}
inline float sum(Vec a) { return vaddvq_f32(a); }

#include "kernel_body.inc"

float exact(const float* a, const float* b, uint32_t stride) {
  float64x2_t acc[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
  for (uint32_t i = 0; i < stride; i += 8) {
    const float32x4_t a0 = vld1q_f32(a + i), a1 = vld1q_f32(a + i + 4);
    const float32x4_t b0 = vld1q_f32(b + i), b1 = vld1q_f32(b + i + 4);
    acc[0] = vfmaq_f64(acc[0], vcvt_f64_f32(vget_low_f32(a0)), vcvt_f64_f32(vget_low_f32(b0)));
    acc[1] = vfmaq_f64(acc[1], vcvt_high_f64_f32(a0), vcvt_high_f64_f32(b0));
    acc[2] = vfmaq_f64(acc[2], vcvt_f64_f32(vget_low_f32(a1)), vcvt_f64_f32(vget_low_f32(b1)));
    acc[3] = vfmaq_f64(acc[3], vcvt_high_f64_f32(a1), vcvt_high_f64_f32(b1));
  }
  double lane[8];
  for (int i = 0; i < 4; ++i) vst1q_f64(lane + 2 * i, acc[i]);
  return fold_lanes(lane);
}

}  // namespace

extern const Kernels kNeonKernels;
const Kernels kNeonKernels = {"neon", kLanes, kVectors, scan, dots, exact, 0, nullptr};

}  // namespace pointsman
#endif
