// Kernels in plain C++, for the baseline instruction set of the build: the reference that always runs.
#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

constexpr int kLanes = 4;
constexpr int kRows = 2;
constexpr int kVectors = 3;

struct Vec {
  float v[kLanes];
};

inline Vec zero() { return Vec{}; }
inline Vec broadcast(float x) { return Vec{{x, x, x, x}}; }
inline Vec load(const float* p) { return Vec{{p[0], p[1], p[2], p[3]}}; }
inline void store(float* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}
inline Vec fma(Vec a, Vec b, Vec acc) {
  for (int i = 0; i < kLanes; ++i) acc.v[i] += a.v[i] * b.v[i];
  return acc;
}
inline uint32_t at_least(Vec a, Vec b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a.v[i] >= b.v[i]) << i;
  return mask;
}
inline float sum(Vec a) { return (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]); }

#include "kernel_body.inc"

#include "encode_body.inc"

float exact(const float* a, const float* b, uint32_t stride) {
  double lane[8] = {};
  for (uint32_t i = 0; i < stride; i += 8) {
    for (int j = 0; j < 8; ++j) lane[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  }
  return fold_lanes(lane);
}

}  // namespace

extern const Kernels kScalarKernels;
const Kernels kScalarKernels = {"scalar", kLanes, kVectors, scan, dots, exact, code_row, {}};

}  // namespace pointsman
