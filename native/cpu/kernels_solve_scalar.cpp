// Solving in plain C++: the reference. A processor without a fused multiply-add computes it in software,
// slowly.
#include "pointsman/solve.hpp"

namespace pointsman {
namespace {

struct Vec {
  float v[8];
};

inline float fma1(float a, float b, float acc) { return __builtin_fmaf(a, b, acc); }
inline Vec broadcast(float x) { return {{x, x, x, x, x, x, x, x}}; }
inline Vec zero() { return broadcast(0); }
inline Vec load(const float* p) { return {{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]}}; }
inline void store(float* p, Vec a) {
  for (int i = 0; i < 8; ++i) p[i] = a.v[i];
}
inline Vec add(Vec a, Vec b) {
  for (int i = 0; i < 8; ++i) a.v[i] += b.v[i];
  return a;
}
inline Vec mul(Vec a, Vec b) {
  for (int i = 0; i < 8; ++i) a.v[i] *= b.v[i];
  return a;
}
inline Vec fma(Vec a, Vec b, Vec acc) {
  for (int i = 0; i < 8; ++i) acc.v[i] = fma1(a.v[i], b.v[i], acc.v[i]);
  return acc;
}
inline Vec fnma(Vec a, Vec b, Vec acc) {
  for (int i = 0; i < 8; ++i) acc.v[i] = fma1(-a.v[i], b.v[i], acc.v[i]);
  return acc;
}

#include "solve_body.inc"

}  // namespace

extern const SolveKernels kScalarSolve;
const SolveKernels kScalarSolve = {"scalar", gather, add_outer, factor, solve, add_rows};

}  // namespace pointsman
