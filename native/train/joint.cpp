#include "train/joint.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"
#include "train/solvers.hpp"

namespace pointsman::train {
namespace {

constexpr double kConstantPenalty = 1e-3;  // a flat prior, nearly

using Matrix = std::vector<double>;  // row-major

class Elimination {
 public:
  Elimination(const Coordinates& z, const Outcomes& outcomes, double bias_prior, unsigned threads,
              const Cancel& cancel)
      : n_(z.dimensions + 1),
        outputs_(outcomes.outputs),
        count_(static_cast<double>(outcomes.row.size())),
        bias_penalty_(std::max(bias_prior, kConstantPenalty)),
        threads_(threads),
        cancel_(cancel),
        right_(outputs_, Matrix(n_, 0.0)) {
    std::vector<float> padded(z.rows * n_, 1.0f);
    for (size_t i = 0; i < z.rows; ++i)
      std::copy_n(&z.values[i * z.dimensions], z.dimensions, &padded[i * n_]);
    std::vector<std::vector<float>> weight(outputs_);
    for (size_t e = 0; e < outcomes.row.size(); ++e) {
      const double y = outcomes.target[e];
      std::vector<float>& w = weight[outcomes.output[e]];
      w.resize(z.rows);
      ++w[outcomes.row[e]];
      squares_ += y * y;
      Matrix& right = right_[outcomes.output[e]];
      const float* zi = &padded[outcomes.row[e] * n_];
      for (size_t k = 0; k < n_; ++k) right[k] += y * zi[k];
    }
    for (std::vector<float>& w : weight) {
      w.resize(z.rows);
      grams_.push_back(gram({padded, z.rows, n_}, w, threads, cancel));
    }
  }

  // The shares of every output for one specific penalty.
  void eliminate(double penalty) {
    specific_.assign(n_, penalty * penalty);
    specific_.back() = bias_penalty_;
    inverses_.assign(outputs_, {});
    alone_.assign(outputs_, {});
    Matrix logs(outputs_);
    ThreadPool::shared().parallel_for(outputs_, threads_, [&](size_t m, unsigned) {
      cancel_.check();
      Matrix factor = grams_[m];
      for (size_t k = 0; k < n_; ++k) factor[k * n_ + k] += specific_[k];
      cholesky(factor, n_);
      logs[m] = log_determinant(factor, n_);
      alone_[m] = right_[m];
      cholesky_solve(factor, n_, alone_[m]);
      inverses_[m] = cholesky_inverse(factor, n_);
    });
    fixed_ = 0;
    for (const double each : logs) fixed_ += each;
    for (const double each : specific_) fixed_ -= static_cast<double>(outputs_) * std::log(each);
    schur_.assign(n_ * n_, 0.0);
    ThreadPool::shared().parallel_for(n_, threads_, [&](size_t i, unsigned) {
      double* to = &schur_[i * n_];
      for (const Matrix& inverse : inverses_) {
        for (size_t j = 0; j <= i; ++j) to[j] -= specific_[i] * inverse[i * n_ + j] * specific_[j];
        to[i] += specific_[i];
      }
    });
    schur_right_.assign(n_, 0.0);
    for (const Matrix& x : alone_) {
      for (size_t k = 0; k < n_; ++k) schur_right_[k] += specific_[k] * x[k];
    }
  }

  // After `eliminate`: the solution for one shared penalty; w_0 and the w_m stay in shared_ and weights_.
  double solve(double penalty) {
    Matrix factor = schur_;
    for (size_t k = 0; k + 1 < n_; ++k) factor[k * n_ + k] += penalty * penalty;
    factor.back() += kConstantPenalty;
    cholesky(factor, n_);
    shared_ = schur_right_;
    cholesky_solve(factor, n_, shared_);
    weights_.assign(outputs_, {});
    double explained = 0;
    for (size_t m = 0; m < outputs_; ++m) {  // A⁻¹(r − G w_0) = A⁻¹r − w_0 + A⁻¹Λ_1 w_0
      weights_[m] = alone_[m];
      for (size_t i = 0; i < n_; ++i) {
        double sum = -shared_[i];
        for (size_t k = 0; k < n_; ++k) sum += inverses_[m][i * n_ + k] * specific_[k] * shared_[k];
        weights_[m][i] += sum;
        explained += right_[m][i] * (shared_[i] + weights_[m][i]);
      }
    }
    const double rest = std::max(squares_ - explained, 1e-12 * squares_ + 1e-300);
    const double prior =
        static_cast<double>(n_ - 1) * std::log(penalty * penalty) + std::log(kConstantPenalty);
    return -0.5 * (count_ * std::log(rest / count_) + log_determinant(factor, n_) - prior + fixed_);
  }

  // What the last `solve` found.
  void copy_to(JointModel& model) const {
    const size_t q = n_ - 1;
    model.shared.assign(shared_.begin(), shared_.end());
    model.bias.resize(outputs_);
    model.projection.resize(q * outputs_);
    for (size_t m = 0; m < outputs_; ++m) {
      for (size_t k = 0; k < q; ++k) model.projection[k * outputs_ + m] = static_cast<float>(weights_[m][k]);
      model.bias[m] = static_cast<float>(weights_[m][q]);
    }
  }

 private:
  static double log_determinant(const Matrix& factor, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += 2 * std::log(factor[i * n + i]);
    return sum;
  }

  const size_t n_, outputs_;
  const double count_, bias_penalty_;
  const unsigned threads_;
  const Cancel& cancel_;
  double squares_ = 0, fixed_ = 0;                  // yᵀy; Σ log|A_m| − log|Λ_1|
  std::vector<Matrix> grams_, right_;               // G_m, r_m
  std::vector<Matrix> inverses_, alone_;            // A_m⁻¹, A_m⁻¹ r_m
  Matrix specific_, schur_, schur_right_, shared_;  // Λ_1, S less Λ_0 and its right side, w_0
  std::vector<Matrix> weights_;                     // w_m
};

// The mean of the models' weights, with the penalties of `named`.
JointModel mean(const JointModel& named, std::span<const JointModel> models) {
  JointModel out = named;
  const auto average = [&](std::vector<float> JointModel::*part) {
    for (size_t k = 0; k < (out.*part).size(); ++k) {
      double sum = 0;
      for (const JointModel& each : models) sum += (each.*part)[k];
      (out.*part)[k] = static_cast<float>(sum / static_cast<double>(models.size()));
    }
  };
  average(&JointModel::shared);
  average(&JointModel::bias);
  average(&JointModel::projection);
  return out;
}

}  // namespace

JointModel fit_joint(const Coordinates& z, const Outcomes& outcomes, const JointSettings& settings,
                     unsigned threads, const Cancel& cancel) {
  check(z, outcomes, {0, settings.shared, 1, settings.bias_prior});
  check(z, outcomes, {0, settings.specific, 1, settings.bias_prior});
  if (!std::is_sorted(settings.specific.begin(), settings.specific.end()))
    throw Error(Code::BAD_ARGUMENT, "the specific penalties must rise");
  Elimination elimination(z, outcomes, settings.bias_prior, threads, cancel);
  std::vector<JointModel> best(settings.specific.size());  // of each specific penalty
  for (size_t s = 0; s < best.size(); ++s) {
    elimination.eliminate(settings.specific[s]);
    best[s].evidence = -std::numeric_limits<double>::infinity();
    for (const double shared : settings.shared) {
      const double evidence = elimination.solve(shared);
      if (evidence > best[s].evidence) best[s] = {shared, settings.specific[s], evidence, {}, {}, {}};
    }
    elimination.solve(best[s].shared_penalty);
    elimination.copy_to(best[s]);
  }
  const auto chosen =
      std::max_element(best.begin(), best.end(),
                       [](const JointModel& a, const JointModel& b) { return a.evidence < b.evidence; });
  return mean(*chosen, {chosen, best.end()});
}

std::vector<float> held_out_joint(const Coordinates& z, const Outcomes& outcomes,
                                  std::span<const uint32_t> fold, const JointSettings& settings,
                                  unsigned threads, const Cancel& cancel, const Progress& progress) {
  check(z, outcomes, {0, settings.shared, 1, settings.bias_prior});
  if (fold.size() != z.rows) throw Error(Code::WRONG_SHAPE, "there must be one fold for each row");
  const size_t count = outcomes.row.size(), q = z.dimensions;
  std::vector<float> predictions(2 * count, 0.0f);
  const std::vector<uint32_t> folds = distinct(fold);
  for (size_t f = 0; f < folds.size(); ++f) {
    const Part part(outcomes, fold, folds[f]);
    const JointModel model = fit_joint(z, part.outcomes(), settings, threads, cancel);
    for (size_t e = 0; e < count; ++e) {
      const uint32_t i = outcomes.row[e], o = outcomes.output[e];
      if (fold[i] != folds[f]) continue;
      double shared = model.shared[q], specific = model.bias[o];
      for (size_t k = 0; k < q; ++k) {
        const double zk = z.values[i * q + k];
        shared += zk * model.shared[k];
        specific += zk * model.projection[k * outcomes.outputs + o];
      }
      predictions[e] = static_cast<float>(shared);
      predictions[count + e] = static_cast<float>(specific);
    }
    if (progress) progress(f + 1, folds.size());
  }
  return predictions;
}

}  // namespace pointsman::train
