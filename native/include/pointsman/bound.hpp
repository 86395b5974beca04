// How far an approximate float32 score can be from the promised one, and the threshold that follows.
//
// A float32 sum of d products in any order, fused or not, differs from the real inner product by at most
// γ·Σ|q_i·x_i| ≤ γ·‖q‖·‖x‖ with γ = d·u/(1 − d·u), u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical
// Algorithms, 2nd ed., §3.1), plus 2⁻¹⁴⁹ for each product that underflows. The promised score is the real one
// within 2⁻²³·‖q‖·‖x‖ + 2⁻¹⁴⁹ (float64 sum, rounding to float32). For d ≤ 4096 the slack of 8·u covers
// the difference between γ and d·u (d²u² ≤ u) and the rounding of the norms.
#pragma once

#include <cmath>
#include <cstdint>

namespace pointsman {

// Relative to ‖q‖·‖x‖.
inline double score_error(uint32_t dimensions) { return (dimensions + 8.0) * 0x1p-24; }

// The most that an approximate score and the promised one can differ by, for a row of norm ≤ `row_norm`.
inline double scan_error(double query_norm, double row_norm, uint32_t dimensions) {
  if (query_norm == 0) return 0;  // every product of a zero query is exactly 0
  return query_norm * row_norm * score_error(dimensions) + (dimensions + 2.0) * 0x1p-149;
}

// The largest float32 t for which it is certain that a row of norm ≤ `row_norm` whose approximate score is
// below t has a promised score below `tau`; a little lower, never higher.
inline float scan_threshold(float tau, double query_norm, double row_norm, uint32_t dimensions) {
  if (query_norm == 0 || tau == -INFINITY) return tau;
  const float t = static_cast<float>(tau - scan_error(query_norm, row_norm, dimensions));
  return t - std::fabs(t) * 0x1p-23f - 0x1p-149f;
}

}  // namespace pointsman
