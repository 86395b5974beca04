// The two regressions behind `fit` (outcomes.hpp), and what they share with the joint one (joint.hpp).
#pragma once

#include <vector>

#include "train/outcomes.hpp"

namespace pointsman::train {

// The outcomes sorted by output, within an output as given, less their output's bias.
struct Residuals {
  std::vector<size_t> starts;  // outputs + 1
  std::vector<uint32_t> row;
  std::vector<float> value;
  std::vector<float> bias;
};
Residuals residuals(const Outcomes& outcomes, double bias_prior);

// The outcomes of every conversation but those of one fold.
struct Part {
  Part(const Outcomes& outcomes, std::span<const uint32_t> fold, uint32_t without);
  Outcomes outcomes() const { return {row, output, target, outputs}; }

  std::vector<uint32_t> row, output;
  std::vector<float> target;
  size_t outputs;
};
std::vector<uint32_t> distinct(std::span<const uint32_t> fold);  // rising

// Σ w_i z_i z_iᵀ over rows with weight w ≥ 0: dimensions², row-major; the lower triangle is right.
std::vector<double> gram(const Coordinates& z, std::span<const float> weight, unsigned threads,
                         const Cancel& cancel);

// `matrix` with `ridge` added to its diagonal, factored.
std::vector<double> ridge_factor(std::vector<double> matrix, size_t n, double ridge);

std::vector<Factors> fit_full(const Coordinates& z, const Residuals& residuals, const Settings& settings,
                              unsigned threads, const Cancel& cancel);
Factors fit_low_rank(const Coordinates& z, const Residuals& residuals, const Settings& settings,
                     double penalty, unsigned threads, const Cancel& cancel);

}  // namespace pointsman::train
