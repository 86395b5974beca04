// Many experts' regressions on logs, in which each conversation was answered by one expert: nobody's
// difference to the others was seen, so what a conversation costs everybody and what an expert is good at are
// learned in ONE regression. With x̃ = [x; 1] and z̃ = [z; 1], where x and z are spectral coordinates (the same
// or others) and 1 the constant,
//
//     y_im = ⟨w_0, x̃_i⟩ + ⟨w_m, z̃_i⟩ + noise        w_0 ~ N(0, s²/Λ_0),  w_m ~ N(0, s²/Λ_1)
//
// a Gaussian process with a shared and a specific kernel (multi-task kernel of Evgeniou, Micchelli and
// Pontil, JMLR 2005). Λ_0 and Λ_1 hold a penalty l² for every direction, and small ones for the constants.
// Elimination of the w_m: with G_m = Σ z̃z̃ᵀ, C_m = Σ z̃x̃ᵀ, r_m = Σ z̃y over the outcomes of m, A_m = G_m + Λ_1,
// and G_0 = Σ x̃x̃ᵀ, r_0 = Σ x̃y over all,
//
//     (Λ_0 + G_0 − Σ_m C_mᵀ A_m⁻¹ C_m) w_0 = r_0 − Σ_m C_mᵀ A_m⁻¹ r_m        w_m = A_m⁻¹ (r_m − C_m w_0)
//
// The penalties are those of the largest evidence, the noise variance at its maximum (MacKay 1992):
//
//     −2 log p(y) = n log((yᵀy − ⟨r_0, w_0⟩ − Σ_m ⟨r_m, w_m⟩) / n)
//                   + log|S| − log|Λ_0| + Σ_m (log|A_m| − log|Λ_1|)
//
// where S is the matrix of w_0. The model is then the mean of the solutions with this or a stronger specific
// penalty: evidence rewards predicting the large differences between weak and strong experts, while a choice
// is made among the strong ones, whose differences are small and better shrunk more. All sums have one order,
// whatever the number of threads.
#pragma once

#include "train/outcomes.hpp"

namespace pointsman::train {

struct JointSettings {
  std::vector<double> shared, specific;  // l to choose from, each > 0, rising
  double bias_prior = 0;                 // pseudo-outcomes of every expert's constant, ≥ 0
};

struct JointModel {
  double shared_penalty = 0, specific_penalty = 0;  // the l of the evidence
  double evidence = 0;                              // its log p(y), but for a constant
  std::vector<float> shared;                        // w_0: dimensions of x + 1, the constant last
  std::vector<float> bias;                          // outputs: the constants of the w_m
  std::vector<float> projection;                    // dimensions of z × outputs: the rest of the w_m
};

// What the shared and the specific parts see of the same conversations; cheaper where it is the same values.
struct JointCoordinates {
  Coordinates shared, specific;
};

// Throws WRONG_SHAPE, NOT_FINITE or BAD_ARGUMENT unless every index and number is usable.
JointModel fit_joint(const JointCoordinates& given, const Outcomes& outcomes, const JointSettings& settings,
                     unsigned threads, const Cancel& cancel);

// Of every outcome ⟨w_0, x̃⟩, then of every outcome ⟨w_m, z̃⟩, by models that did not see its conversation's
// fold. `fold` has one entry a row.
std::vector<float> held_out_joint(const JointCoordinates& given, const Outcomes& outcomes,
                                  std::span<const uint32_t> fold, const JointSettings& settings,
                                  unsigned threads, const Cancel& cancel, const Progress& progress);

}  // namespace pointsman::train
