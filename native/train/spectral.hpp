// The spectral basis of a corpus: what its conversations have in common, found without looking at outcomes.
//
// X is the sparse n × D matrix of text features, K = X Xᵀ. Block subspace iteration (Halko, Martinsson, Tropp
// 2011) finds the q leading eigenvectors U and eigenvalues σ² of K. A conversation's coordinates are
//
//     z = Uᵀ X x        (for the rows of X themselves: Z = U Σ²)
//
// so that direction j enters with the spread σ_j², not σ_j: ridge regression on z with penalty l² shrinks
// direction j by σ⁴/(σ⁴ + l²), a sharper filter than ridge on x, and that is what wins: subjects are learned,
// wordings are not. z is linear in x: any read-out R of z folds into one projection P = Xᵀ U R of D × p.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pointsman/task.hpp"

namespace pointsman::train {

// Sparse rows as text::features makes them; checked by `check`.
struct SparseRows {
  std::span<const uint32_t> starts;  // count + 1
  std::span<const uint32_t> columns;
  std::span<const float> values;
  uint32_t width = 0;  // columns are below it
  size_t count() const noexcept { return starts.size() - 1; }
  // Throws WRONG_SHAPE unless every access through it is within bounds, NOT_FINITE for bad values.
  void check() const;
};

struct Spectrum {
  size_t dimensions = 0;            // q, or fewer where the rows span less
  std::vector<float> vectors;       // U, n × q row-major
  std::vector<double> eigenvalues;  // σ², falling
};

Spectrum spectral_basis(const SparseRows& rows, size_t dimensions, uint64_t seed, unsigned threads,
                        const Cancel& cancel, const Progress& progress);

// Xᵀ U R, width × p: the projection that takes features to read-outs R (q × p) of the spectral coordinates.
// U is rows.count() × q; all row-major.
std::vector<float> fold_projection(const SparseRows& rows, std::span<const float> vectors, size_t q,
                                   std::span<const float> readout, size_t p, unsigned threads,
                                   const Cancel& cancel);

}  // namespace pointsman::train
