// A hierarchical Bayesian linear model of many experts: what an expert's content features say of it is the
// prior, its outcomes give the posterior. With x̃ = [x; 1] of a conversation and f of an expert (its last
// component 1, the population),
//
//     y_im = ⟨B f_m + δ_m, x̃_i⟩ + noise     noise ~ N(0, s²),  δ_m ~ N(0, V),  B_jk ~ N(0, V_jj / ρ)
//
// V is diagonal; coordinates of one group share a variance. The coefficient of the population itself has a
// flat prior, nearly. s², V, ρ and B are those of the largest marginal likelihood, by expectation
// maximisation over the w_m = B f_m + δ_m (Dempster, Laird and Rubin 1977; for ρ see MacKay 1992): with
// G_m = Σ x̃x̃ᵀ, r_m = Σ x̃y over the outcomes of m, A_m = G_m/s² + V⁻¹ and C_m = A_m⁻¹,
//
//     δ_m  = C_m (r_m − G_m B f_m) / s²
//     B    = (Σ w_m f_mᵀ) (Σ f_m f_mᵀ + ρI)⁻¹
//     V_g  = mean of δ_mj² + (C_m)_jj over the experts and the coordinates j of the group
//     s²   = (Σ (y − ⟨w_m, x̃⟩)² + Σ_m tr(G_m C_m)) / n
//
// A posterior is kept in the coordinates u = V^−½ δ, in which the prior is N(0, I): its mean, and of its
// precision I + S the `rank` leading eigenvectors of S (times the roots of their eigenvalues) and the
// diagonal of the rest. It is exact with at most `rank` outcomes. All sums have one order, whatever the
// number of threads.
#pragma once

#include "train/outcomes.hpp"

namespace pointsman::train {

struct Hierarchical {
  Coordinates x;
  Outcomes outcomes;                // output: the expert
  std::span<const float> features;  // experts × width: f
  size_t width = 0;                 // ≥ 1; the last component of each f is 1
};

struct Hierarchy {
  double noise = 0;              // s²
  std::vector<double> variance;  // V_jj: dimensions + 1, the constant last
  double penalty = 0;            // ρ
  std::vector<double> map;       // B: (dimensions + 1) × width
  double evidence = 0;           // log p(y)
};

// `group` has dimensions + 1 numbers. At most so many experts take part that their G_m fit into 128 MiB,
// evenly spaced among those with outcomes.
Hierarchy fit_hierarchy(const Hierarchical& problem, std::span<const uint32_t> group, size_t rounds,
                        unsigned threads, const Cancel& cancel, const Progress& progress);

struct Posteriors {
  std::vector<float> mean;      // experts × (dimensions + 1): u
  std::vector<float> diagonal;  // experts × (dimensions + 1): of I and of what the columns leave of S
  std::vector<float> columns;   // experts × rank × (dimensions + 1)
};
Posteriors posteriors(const Hierarchical& problem, const Hierarchy& hierarchy, size_t rank, unsigned threads,
                      const Cancel& cancel);

// Of every outcome ⟨w_m, x̃⟩ by a model that did not see its conversation's fold; only B is fitted anew.
std::vector<float> held_out_hierarchy(const Hierarchical& problem, std::span<const uint32_t> fold,
                                      const Hierarchy& hierarchy, size_t rounds, unsigned threads,
                                      const Cancel& cancel, const Progress& progress);

}  // namespace pointsman::train
