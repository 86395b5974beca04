// Solving for NEON: two vectors of four for each of eight.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "pointsman/solve.hpp"

namespace pointsman {
namespace {

struct Vec {
  float32x4_t low, high;
};

inline Vec zero() { return {vdupq_n_f32(0), vdupq_n_f32(0)}; }
inline Vec broadcast(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline Vec load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline void store(float* p, Vec a) {
  vst1q_f32(p, a.low);
  vst1q_f32(p + 4, a.high);
}
inline Vec add(Vec a, Vec b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
inline Vec mul(Vec a, Vec b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
inline Vec fma(Vec a, Vec b, Vec acc) {
  return {vfmaq_f32(acc.low, a.low, b.low), vfmaq_f32(acc.high, a.high, b.high)};
}
inline Vec fnma(Vec a, Vec b, Vec acc) {
  return {vfmsq_f32(acc.low, a.low, b.low), vfmsq_f32(acc.high, a.high, b.high)};
}
inline float fma1(float a, float b, float acc) { return __builtin_fmaf(a, b, acc); }

#include "solve_body.inc"

}  // namespace

extern const SolveKernels kNeonSolve;
const SolveKernels kNeonSolve = {"neon", gather, add_outer, factor, solve, add_rows};

}  // namespace pointsman
#endif
