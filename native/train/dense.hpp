// Small dense linear algebra in float64, single-threaded and therefore bit-stable. Matrices are square,
// row-major.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace pointsman::train {

// Eigenvalues (falling) and eigenvectors of a symmetric n × n matrix; column j of `vectors` belongs to
// `values[j]`. Householder tridiagonalisation, then implicit QL (the EISPACK routines tred2 and tql2). Throws
// INTERNAL if QL does not converge.
struct Eigen {
  std::vector<double> values;
  std::vector<double> vectors;
};
Eigen symmetric_eigen(std::vector<double> matrix, size_t n);

// The Cholesky factor of a symmetric positive definite matrix (the lower triangle is read and replaced).
// Pivots below a tiny share of the largest diagonal are raised to it.
void cholesky(std::span<double> matrix, size_t n);
// Solves L Lᵀ x = b in place.
void cholesky_solve(std::span<const double> factor, size_t n, std::span<double> b);
// (L Lᵀ)⁻¹, both triangles.
std::vector<double> cholesky_inverse(std::span<const double> factor, size_t n);

}  // namespace pointsman::train
