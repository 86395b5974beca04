// The prefix: the few directions that carry most of the rows' energy, so that a scan of a fraction of the
// codes can exclude nearly all rows of data with a decaying spectrum (learned embeddings have one).
//
// With R a p × d matrix whose singular values are at most 1, I − RᵀR is positive semidefinite, and by
// Cauchy–Schwarz in that form
//   ⟨q,x⟩ = ⟨Rq, Rx⟩ + ⟨q, (I − RᵀR) x⟩ ≤ ⟨Rq, Rx⟩ + √(‖q‖² − ‖Rq‖²) · √(‖x‖² − ‖Rx‖²).
// So the upper bound is itself an inner product, of the vectors (Rx, rest of x) and (Rq, rest of q) in p + 1
// dimensions: it is scanned by the same kernels, over codes of its own in which the rest is rounded up. There
// are two such bounds: one of the first directions, for all rows, and a closer one of all, for what that
// leaves.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pointsman/codes.hpp"
#include "pointsman/task.hpp"

namespace pointsman {

class Rotation {
 public:
  // Leading directions of a sample of rows, by subspace iteration from a fixed start; null where they
  // carry too little of the rows' energy to exclude anything.
  static std::shared_ptr<const Rotation> learn(const std::vector<const float*>& rows, uint32_t dimensions,
                                               unsigned threads, const Cancel& cancel);

  // Numbers of one: kDirections × dimensions, row-major.
  static constexpr uint32_t kDirections = kPrefixComponents - 2;
  static size_t values(uint32_t dimensions) { return size_t{kDirections} * dimensions; }
  const std::vector<double>& directions() const { return directions_; }
  // One that was saved; null where a singular value could exceed 1, which the bound rests on.
  static std::shared_ptr<const Rotation> restore(uint32_t dimensions, const double* directions);

  // The prefix of a vector: along the first kShortPrefix − 1 directions, the norm of what these leave, along
  // the other directions, the norm of what all leave. Norms are rounded up.
  void apply(const float* vector, double* prefix) const;

  // Codes of 1024 rows' prefixes; `codes` gets page_bytes(POINTSMAN_PREFIX, …).
  CodePage encode_prefixes(const float* rows, uint32_t stride, uint8_t* codes) const;

 private:
  explicit Rotation(uint32_t dimensions) : dimensions_(dimensions) {}

  uint32_t dimensions_;
  std::vector<double> directions_;
};

}  // namespace pointsman
