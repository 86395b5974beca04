// From outcomes to predictions. An output o is a pair (metric, expert); outcome e says that conversation
// row[e] scored target[e] on output[e]. With z the conversation's spectral coordinates (spectral.hpp), the
// model is
//
//     ŷ_o(z) = b_o + ⟨φ_o, Rᵀ z⟩        b_o = Σ target / (count + bias_prior)
//
// minimising Σ (target − ŷ)² + l²‖R‖² + shrinkage·‖φ‖². `rank` is the number of columns of R:
//   0             biases only
//   outputs       every output has its own ridge regression on z: φ_o is the o-th unit vector
//   in between    alternating least squares from a spectral start: R spans the leading directions of the
//                 cross-covariance of coordinates and outcomes, whitened by the ridge; then φ and R in turn,
//                 φ in closed form at unit variance of Rᵀz, R by conjugate gradients with the φ whitened over
//                 the outcomes (so that l means the same at every rank and density)
// All sums have one order, whatever the number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pointsman/task.hpp"

namespace pointsman::train {

struct Coordinates {
  std::span<const float> values;  // rows × dimensions, row-major
  size_t rows = 0, dimensions = 0;
};

struct Outcomes {
  std::span<const uint32_t> row, output;
  std::span<const float> target;
  size_t outputs = 0;
};

struct Settings {
  size_t rank = 0;
  std::vector<double> penalties;  // l, each > 0; one model for each
  double shrinkage = 0;           // pseudo-outcomes of every φ_o, > 0; not used at full rank
  double bias_prior = 0;          // pseudo-outcomes of every bias, ≥ 0
};

struct Factors {
  size_t rank = 0;
  std::vector<float> bias;        // outputs
  std::vector<float> vectors;     // outputs × rank: φ
  std::vector<float> projection;  // dimensions × rank: R
};

// Throws WRONG_SHAPE or NOT_FINITE unless every index and number of them is usable.
void check(const Coordinates& z, const Outcomes& outcomes, const Settings& settings);

// One model for each penalty.
std::vector<Factors> fit(const Coordinates& z, const Outcomes& outcomes, const Settings& settings,
                         unsigned threads, const Cancel& cancel);

// ŷ of every outcome by models that did not see its conversation's fold: penalties × outcomes, row-major.
// `fold` has one entry a row.
std::vector<float> held_out(const Coordinates& z, const Outcomes& outcomes, std::span<const uint32_t> fold,
                            const Settings& settings, unsigned threads, const Cancel& cancel,
                            const Progress& progress);

}  // namespace pointsman::train
