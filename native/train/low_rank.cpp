// Alternating least squares for many outputs; see outcomes.hpp for the model and the start.
#include <algorithm>
#include <cmath>

#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"
#include "train/solvers.hpp"

namespace pointsman::train {
namespace {

constexpr int kSweeps = 2, kSteps = 15;
constexpr double kTolerance = 1e-6;  // of the squared gradient, against the first
constexpr size_t kOwn = 64;          // rows or outputs of one task

using Matrix = std::vector<double>;  // row-major

class Alternation {
 public:
  Alternation(const Coordinates& z, const Residuals& r, const Settings& settings, double penalty,
              unsigned threads, const Cancel& cancel)
      : z_(z),
        r_(r),
        q_(z.dimensions),
        p_(settings.rank),
        shrinkage_(settings.shrinkage),
        ridge_(penalty * penalty),
        threads_(threads),
        cancel_(cancel),
        outputs_(r.bias.size()),
        weight_(z.rows, 0.0f) {
    for (const uint32_t row : r.row) ++weight_[row];
    for (const float w : weight_) observed_rows_ += w > 0;
    by_row();
  }

  Factors run() {
    start();
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      standardise();
      solve_vectors();
      if (sweep + 1 < kSweeps) {
        whiten_vectors();
        solve_projection();
      }
    }
    Factors out{p_, r_.bias, std::vector<float>(outputs_ * p_), std::vector<float>(q_ * p_)};
    std::copy(vectors_.begin(), vectors_.end(), out.vectors.begin());
    std::copy(projection_.begin(), projection_.end(), out.projection.begin());
    return out;
  }

 private:
  // The residuals by row, for the half steps that run over conversations.
  void by_row() {
    row_starts_.assign(z_.rows + 1, 0);
    for (const uint32_t row : r_.row) ++row_starts_[row + 1];
    for (size_t i = 0; i < z_.rows; ++i) row_starts_[i + 1] += row_starts_[i];
    row_output_.resize(r_.row.size());
    row_value_.resize(r_.row.size());
    std::vector<size_t> next(row_starts_.begin(), row_starts_.end() - 1);
    for (size_t o = 0; o < outputs_; ++o) {
      for (size_t e = r_.starts[o]; e < r_.starts[o + 1]; ++e) {
        const size_t to = next[r_.row[e]]++;
        row_output_[to] = static_cast<uint32_t>(o);
        row_value_[to] = r_.value[e];
      }
    }
  }

  // With G + l² = L Lᵀ over the observed rows: R = L⁻ᵀ times the leading eigenvectors of Σ_o s_o s_oᵀ, s_o =
  // L⁻¹ Zᵀ t_o.
  void start() {
    const Matrix factor = ridge_factor(gram(z_, weight_, threads_, cancel_), q_, ridge_);
    Matrix s(outputs_ * q_, 0.0);
    over(outputs_, [&](size_t o) {
      double* so = &s[o * q_];
      for (size_t e = r_.starts[o]; e < r_.starts[o + 1]; ++e) {
        const float* zi = z_.values.data() + r_.row[e] * q_;
        for (size_t k = 0; k < q_; ++k) so[k] += static_cast<double>(r_.value[e]) * zi[k];
      }
      for (size_t i = 0; i < q_; ++i) {
        double sum = so[i];
        for (size_t k = 0; k < i; ++k) sum -= factor[i * q_ + k] * so[k];
        so[i] = sum / factor[i * q_ + i];
      }
    });
    Matrix covariance(q_ * q_, 0.0);
    over(q_, [&](size_t a) {
      for (size_t o = 0; o < outputs_; ++o) {
        const double left = s[o * q_ + a];
        for (size_t b = 0; b < q_; ++b) covariance[a * q_ + b] += left * s[o * q_ + b];
      }
    });
    const Eigen leading = symmetric_eigen(std::move(covariance), q_);
    projection_.assign(q_ * p_, 0.0);
    for (size_t j = 0; j < p_; ++j) {
      for (size_t i = q_; i-- > 0;) {
        double sum = leading.vectors[i * q_ + j];
        for (size_t k = i + 1; k < q_; ++k) sum -= factor[k * q_ + i] * projection_[k * p_ + j];
        projection_[i * p_ + j] = sum / factor[i * q_ + i];
      }
    }
  }

  // ψ = Rᵀz of every observed row, into psi_.
  void compute_psi(const Matrix& projection) {
    psi_.assign(z_.rows * p_, 0.0);
    over(z_.rows, [&](size_t i) {
      if (weight_[i] == 0) return;
      double* to = &psi_[i * p_];
      const float* zi = z_.values.data() + i * q_;
      for (size_t k = 0; k < q_; ++k) {
        for (size_t j = 0; j < p_; ++j) to[j] += zi[k] * projection[k * p_ + j];
      }
    });
  }

  // Brings every component of ψ to mean square one over the observed rows.
  void standardise() {
    compute_psi(projection_);
    for (size_t j = 0; j < p_; ++j) {
      double sum = 0;
      for (size_t i = 0; i < z_.rows; ++i) sum += psi_[i * p_ + j] * psi_[i * p_ + j];
      const double scale = sum > 0 ? 1 / std::sqrt(sum / std::max(1.0, observed_rows_)) : 0.0;
      for (size_t i = 0; i < z_.rows; ++i) psi_[i * p_ + j] *= scale;
      for (size_t k = 0; k < q_; ++k) projection_[k * p_ + j] *= scale;
    }
  }

  // φ_o = (Σ ψψᵀ + shrinkage)⁻¹ Σ ψ·t over the outcomes of o.
  void solve_vectors() {
    vectors_.assign(outputs_ * p_, 0.0);
    over(outputs_, [&](size_t o) {
      Matrix matrix(p_ * p_, 0.0);
      double* right = &vectors_[o * p_];
      for (size_t e = r_.starts[o]; e < r_.starts[o + 1]; ++e) {
        const double* psi = &psi_[r_.row[e] * p_];
        for (size_t a = 0; a < p_; ++a) {
          right[a] += psi[a] * r_.value[e];
          for (size_t b = 0; b <= a; ++b) matrix[a * p_ + b] += psi[a] * psi[b];
        }
      }
      cholesky_solve(ridge_factor(std::move(matrix), p_, shrinkage_), p_, {right, p_});
    });
  }

  // Replaces φ by L⁻¹φ with L Lᵀ = Σ_outcomes φφᵀ / rows, so that a row tells of each dimension one unit on
  // average.
  void whiten_vectors() {
    Matrix matrix(p_ * p_, 0.0);
    for (size_t o = 0; o < outputs_; ++o) {
      const double count =
          static_cast<double>(r_.starts[o + 1] - r_.starts[o]) / std::max(1.0, observed_rows_);
      const double* v = &vectors_[o * p_];
      for (size_t a = 0; a < p_; ++a) {
        for (size_t b = 0; b <= a; ++b) matrix[a * p_ + b] += count * v[a] * v[b];
      }
    }
    double trace = 0;
    for (size_t a = 0; a < p_; ++a) trace += matrix[a * p_ + a];
    const Matrix factor = ridge_factor(std::move(matrix), p_, 1e-9 * trace + 1e-30);
    over(outputs_, [&](size_t o) {
      double* v = &vectors_[o * p_];
      for (size_t i = 0; i < p_; ++i) {
        for (size_t k = 0; k < i; ++k) v[i] -= factor[i * p_ + k] * v[k];
        v[i] /= factor[i * p_ + i];
      }
    });
  }

  // Conjugate gradients for R at fixed φ, from zero.
  void solve_projection() {
    projection_.assign(q_ * p_, 0.0);
    Matrix gradient = gradient_of([&](size_t i, double* g) {
      for (size_t e = row_starts_[i]; e < row_starts_[i + 1]; ++e) add(g, row_output_[e], row_value_[e]);
    });
    Matrix direction = gradient;
    const double first = square(gradient);
    double now = first;
    for (int step = 0; step < kSteps && now > kTolerance * first; ++step) {
      cancel_.check();
      compute_psi(direction);
      Matrix image = gradient_of([&](size_t i, double* g) {
        const double* psi = &psi_[i * p_];
        for (size_t e = row_starts_[i]; e < row_starts_[i + 1]; ++e) {
          const double* v = &vectors_[row_output_[e] * p_];
          double y = 0;
          for (size_t j = 0; j < p_; ++j) y += psi[j] * v[j];
          add(g, row_output_[e], y);
        }
      });
      double curvature = 0;
      for (size_t k = 0; k < image.size(); ++k) {
        image[k] += ridge_ * direction[k];
        curvature += image[k] * direction[k];
      }
      if (!(curvature > 0)) break;
      const double length = now / curvature;
      for (size_t k = 0; k < image.size(); ++k) {
        projection_[k] += length * direction[k];
        gradient[k] -= length * image[k];
      }
      const double next = square(gradient);
      for (size_t k = 0; k < image.size(); ++k) direction[k] = gradient[k] + next / now * direction[k];
      now = next;
    }
  }

  void add(double* to, uint32_t output, double amount) const {
    const double* v = &vectors_[output * p_];
    for (size_t j = 0; j < p_; ++j) to[j] += amount * v[j];
  }

  // Zᵀ g with g_i (p numbers) given by `of` for each observed row.
  template <typename Of>
  Matrix gradient_of(Of of) {
    Matrix g(z_.rows * p_, 0.0), out(q_ * p_, 0.0);
    over(z_.rows, [&](size_t i) { of(i, &g[i * p_]); });
    constexpr size_t kDimensions = 16;  // of one task
    ThreadPool::shared().parallel_for((q_ + kDimensions - 1) / kDimensions, threads_,
                                      [&](size_t task, unsigned) {
                                        const size_t end = std::min(q_, (task + 1) * kDimensions);
                                        for (size_t i = 0; i < z_.rows; ++i) {
                                          if (weight_[i] == 0) continue;
                                          for (size_t k = task * kDimensions; k < end; ++k) {
                                            const double zk = z_.values[i * q_ + k];
                                            for (size_t j = 0; j < p_; ++j)
                                              out[k * p_ + j] += zk * g[i * p_ + j];
                                          }
                                        }
                                      });
    return out;
  }

  static double square(const Matrix& m) {
    double sum = 0;
    for (const double x : m) sum += x * x;
    return sum;
  }

  template <typename Body>
  void over(size_t count, Body body) {
    ThreadPool::shared().parallel_for((count + kOwn - 1) / kOwn, threads_, [&](size_t task, unsigned) {
      cancel_.check();
      const size_t end = std::min(count, (task + 1) * kOwn);
      for (size_t i = task * kOwn; i < end; ++i) body(i);
    });
  }

  const Coordinates& z_;
  const Residuals& r_;
  const size_t q_, p_;
  const double shrinkage_, ridge_;
  const unsigned threads_;
  const Cancel& cancel_;
  const size_t outputs_;
  std::vector<float> weight_;  // outcomes of each row
  double observed_rows_ = 0;
  std::vector<size_t> row_starts_;
  std::vector<uint32_t> row_output_;
  std::vector<float> row_value_;
  Matrix projection_, vectors_, psi_;
};

}  // namespace

Factors fit_low_rank(const Coordinates& z, const Residuals& residuals, const Settings& settings,
                     double penalty, unsigned threads, const Cancel& cancel) {
  return Alternation(z, residuals, settings, penalty, threads, cancel).run();
}

}  // namespace pointsman::train
