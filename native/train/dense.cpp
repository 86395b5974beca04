#include "train/dense.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pointsman/error.hpp"

namespace pointsman::train {
namespace {

// Reduces `z` to tridiagonal form: diagonal d, subdiagonal e[1..]; z becomes the transformation.
void tridiagonalise(std::vector<double>& z, size_t n, std::vector<double>& d, std::vector<double>& e) {
  const auto at = [&](size_t i, size_t j) -> double& { return z[i * n + j]; };
  for (size_t i = n - 1; i > 0; --i) {
    double h = 0, scale = 0;
    for (size_t k = 0; k < i; ++k) scale += std::abs(at(i, k));
    if (i == 1 || scale == 0) {
      e[i] = at(i, i - 1);
      d[i] = 0;
      continue;
    }
    for (size_t k = 0; k < i; ++k) {
      at(i, k) /= scale;
      h += at(i, k) * at(i, k);
    }
    const double f = at(i, i - 1), g = f >= 0 ? -std::sqrt(h) : std::sqrt(h);
    e[i] = scale * g;
    h -= f * g;
    at(i, i - 1) = f - g;
    double sum = 0;
    for (size_t j = 0; j < i; ++j) {
      at(j, i) = at(i, j) / h;
      double dot = 0;
      for (size_t k = 0; k <= j; ++k) dot += at(j, k) * at(i, k);
      for (size_t k = j + 1; k < i; ++k) dot += at(k, j) * at(i, k);
      e[j] = dot / h;
      sum += e[j] * at(i, j);
    }
    const double half = sum / (h + h);
    for (size_t j = 0; j < i; ++j) {
      const double fj = at(i, j), gj = e[j] -= half * fj;
      for (size_t k = 0; k <= j; ++k) at(j, k) -= fj * e[k] + gj * at(i, k);
    }
    d[i] = h;
  }
  d[0] = 0;
  e[0] = 0;
  for (size_t i = 0; i < n; ++i) {
    if (d[i] != 0) {
      for (size_t j = 0; j < i; ++j) {
        double dot = 0;
        for (size_t k = 0; k < i; ++k) dot += at(i, k) * at(k, j);
        for (size_t k = 0; k < i; ++k) at(k, j) -= dot * at(k, i);
      }
    }
    d[i] = at(i, i);
    at(i, i) = 1;
    for (size_t j = 0; j < i; ++j) at(i, j) = at(j, i) = 0;
  }
}

void implicit_ql(std::vector<double>& z, size_t n, std::vector<double>& d, std::vector<double>& e) {
  for (size_t i = 1; i < n; ++i) e[i - 1] = e[i];
  e[n - 1] = 0;
  for (size_t l = 0; l < n; ++l) {
    for (int round = 0;; ++round) {
      size_t m = l;
      for (; m + 1 < n; ++m) {
        const double size = std::abs(d[m]) + std::abs(d[m + 1]);
        if (std::abs(e[m]) <= 1e-16 * size) break;
      }
      if (m == l) break;
      if (round == 100) throw Error(Code::INTERNAL, "the eigenvalue iteration did not converge");
      double g = (d[l + 1] - d[l]) / (2 * e[l]), r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
      double s = 1, c = 1, p = 0;
      bool split = false;
      for (size_t i = m; i-- > l;) {
        const double f = s * e[i], b = c * e[i];
        r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          split = true;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        for (size_t k = 0; k < n; ++k) {
          double* row = &z[k * n];
          const double low = row[i], high = row[i + 1];
          row[i + 1] = s * low + c * high;
          row[i] = c * low - s * high;
        }
      }
      if (split) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

}  // namespace

Eigen symmetric_eigen(std::vector<double> matrix, size_t n) {
  std::vector<double> d(n), e(n);
  if (n > 0) {
    tridiagonalise(matrix, n, d, e);
    implicit_ql(matrix, n, d, e);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return d[a] > d[b]; });
  Eigen out{std::vector<double>(n), std::vector<double>(n * n)};
  for (size_t j = 0; j < n; ++j) {
    out.values[j] = d[order[j]];
    for (size_t i = 0; i < n; ++i) out.vectors[i * n + j] = matrix[i * n + order[j]];
  }
  return out;
}

void cholesky(std::span<double> matrix, size_t n) {
  double largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, matrix[i * n + i]);
  const double least = std::max(largest * 1e-14, 1e-300);
  for (size_t i = 0; i < n; ++i) {
    double* row = &matrix[i * n];
    for (size_t j = 0; j <= i; ++j) {
      const double* other = &matrix[j * n];
      double sum = row[j];
      for (size_t k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = i == j ? std::sqrt(std::max(sum, least)) : sum / other[j];
    }
  }
}

void cholesky_solve(std::span<const double> factor, size_t n, std::span<double> b) {
  for (size_t i = 0; i < n; ++i) {
    double sum = b[i];
    for (size_t k = 0; k < i; ++k) sum -= factor[i * n + k] * b[k];
    b[i] = sum / factor[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    double sum = b[i];
    for (size_t k = i + 1; k < n; ++k) sum -= factor[k * n + i] * b[k];
    b[i] = sum / factor[i * n + i];
  }
}

std::vector<double> cholesky_inverse(std::span<const double> factor, size_t n) {
  std::vector<double> lower(n * n, 0.0), out(n * n, 0.0);  // L⁻¹, then L⁻ᵀ L⁻¹
  for (size_t i = 0; i < n; ++i) {
    double* row = &lower[i * n];
    for (size_t k = 0; k < i; ++k) {
      const double left = factor[i * n + k];
      const double* other = &lower[k * n];
      for (size_t j = 0; j <= k; ++j) row[j] -= left * other[j];
    }
    row[i] = 1;
    for (size_t j = 0; j <= i; ++j) row[j] /= factor[i * n + i];
  }
  for (size_t k = 0; k < n; ++k) {
    const double* row = &lower[k * n];
    for (size_t i = 0; i <= k; ++i) {
      for (size_t j = 0; j <= i; ++j) out[i * n + j] += row[i] * row[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) out[j * n + i] = out[i * n + j];
  }
  return out;
}

}  // namespace pointsman::train
