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
  Elimination(const JointCoordinates& given, const Outcomes& outcomes, double bias_prior, unsigned threads,
              const Cancel& cancel)
      : same_(given.shared.values.data() == given.specific.values.data() &&
              given.shared.dimensions == given.specific.dimensions),
        n_(given.specific.dimensions + 1),
        n0_(given.shared.dimensions + 1),
        outputs_(outcomes.outputs),
        count_(static_cast<double>(outcomes.row.size())),
        bias_penalty_(std::max(bias_prior, kConstantPenalty)),
        threads_(threads),
        cancel_(cancel),
        right_(outputs_, Matrix(n_, 0.0)),
        gram0_(n0_ * n0_, 0.0),
        right0_(n0_, 0.0) {
    // [z̃; x̃], so that one symmetric sum has G_m, C_m and the share of G_0; where both are the same [z̃].
    const size_t rows = given.shared.rows, width = same_ ? n_ : n_ + n0_;
    std::vector<float> padded(rows * width, 1.0f);
    for (size_t i = 0; i < rows; ++i) {
      std::copy_n(&given.specific.values[i * (n_ - 1)], n_ - 1, &padded[i * width]);
      if (!same_) std::copy_n(&given.shared.values[i * (n0_ - 1)], n0_ - 1, &padded[i * width + n_]);
    }
    std::vector<std::vector<float>> weight(outputs_);
    for (size_t e = 0; e < outcomes.row.size(); ++e) {
      const double y = outcomes.target[e];
      std::vector<float>& w = weight[outcomes.output[e]];
      w.resize(rows);
      ++w[outcomes.row[e]];
      squares_ += y * y;
      Matrix& right = right_[outcomes.output[e]];
      const float* zi = &padded[outcomes.row[e] * width];
      for (size_t k = 0; k < n_; ++k) right[k] += y * zi[k];
      for (size_t k = 0; k < n0_; ++k) right0_[k] += y * zi[width - n0_ + k];
    }
    for (std::vector<float>& w : weight) {
      w.resize(rows);
      Matrix sum = gram({padded, rows, width}, w, threads, cancel);  // its lower triangle
      if (same_) {
        grams_.push_back(std::move(sum));
        continue;
      }
      Matrix& own = grams_.emplace_back(n_ * n_);
      Matrix& cross = crosses_.emplace_back(n0_ * n_);
      for (size_t i = 0; i < n_; ++i) std::copy_n(&sum[i * width], i + 1, &own[i * n_]);
      for (size_t i = 0; i < n0_; ++i) {
        const double* from = &sum[(n_ + i) * width];
        std::copy_n(from, n_, &cross[i * n_]);
        for (size_t j = 0; j <= i; ++j) gram0_[i * n0_ + j] += from[n_ + j];
      }
    }
  }

  // The shares of every output for one specific penalty.
  void eliminate(double penalty) {
    Matrix specific(n_, penalty * penalty);
    specific.back() = bias_penalty_;
    Matrix logs(outputs_);
    solved_.assign(outputs_, {});
    alone_.assign(outputs_, {});
    ThreadPool::shared().parallel_for(outputs_, threads_, [&](size_t m, unsigned) {
      cancel_.check();
      Matrix factor = grams_[m];
      for (size_t k = 0; k < n_; ++k) factor[k * n_ + k] += specific[k];
      cholesky(factor, n_);
      logs[m] = log_determinant(factor, n_);
      alone_[m] = right_[m];
      cholesky_solve(factor, n_, alone_[m]);
      const Matrix inverse = cholesky_inverse(factor, n_);
      solved_[m].assign(n0_ * n_, 0.0);
      for (size_t i = 0; i < n0_; ++i) {
        double* to = &solved_[m][i * n_];
        if (same_) {  // A⁻¹ G = 1 − A⁻¹ Λ_1
          for (size_t k = 0; k < n_; ++k) to[k] = (i == k ? 1 : 0) - inverse[k * n_ + i] * specific[i];
          continue;
        }
        for (size_t j = 0; j < n_; ++j) {
          const double c = crosses_[m][i * n_ + j];
          for (size_t k = 0; k < n_; ++k) to[k] += c * inverse[j * n_ + k];
        }
      }
    });
    fixed_ = 0;
    for (const double each : logs) fixed_ += each;
    for (const double each : specific) fixed_ -= static_cast<double>(outputs_) * std::log(each);
    schur_ = gram0_;
    schur_right_ = right0_;
    if (same_) schur_right_.assign(n0_, 0.0);
    ThreadPool::shared().parallel_for(n0_, threads_, [&](size_t i, unsigned) {
      for (size_t m = 0; m < outputs_; ++m) {
        const Matrix& solved = solved_[m];
        if (same_) {  // G − G A⁻¹ G = Λ_1 A⁻¹ G, and r − G A⁻¹ r = Λ_1 A⁻¹ r
          for (size_t j = 0; j <= i; ++j) schur_[i * n0_ + j] += specific[i] * solved[j * n_ + i];
          schur_right_[i] += specific[i] * alone_[m][i];
          continue;
        }
        const double* cross = &crosses_[m][i * n_];
        for (size_t j = 0; j <= i; ++j) schur_[i * n0_ + j] -= dot(cross, &solved[j * n_]);
        schur_right_[i] -= dot(cross, alone_[m].data());
      }
    });
  }

  // After `eliminate`: the solution for one shared penalty; w_0 and the w_m stay in shared_ and weights_.
  double solve(double penalty) {
    Matrix factor = schur_;
    for (size_t k = 0; k + 1 < n0_; ++k) factor[k * n0_ + k] += penalty * penalty;
    factor.back() += kConstantPenalty;
    cholesky(factor, n0_);
    shared_ = schur_right_;
    cholesky_solve(factor, n0_, shared_);
    weights_ = alone_;
    double explained = 0;
    for (size_t i = 0; i < n0_; ++i) explained += right0_[i] * shared_[i];
    for (size_t m = 0; m < outputs_; ++m) {
      for (size_t i = 0; i < n0_; ++i) {
        for (size_t k = 0; k < n_; ++k) weights_[m][k] -= solved_[m][i * n_ + k] * shared_[i];
      }
      explained += dot(right_[m].data(), weights_[m].data());
    }
    const double rest = std::max(squares_ - explained, 1e-12 * squares_ + 1e-300);
    const double prior =
        static_cast<double>(n0_ - 1) * std::log(penalty * penalty) + std::log(kConstantPenalty);
    return -0.5 * (count_ * std::log(rest / count_) + log_determinant(factor, n0_) - prior + fixed_);
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
  double dot(const double* a, const double* b) const {
    double sum = 0;
    for (size_t k = 0; k < n_; ++k) sum += a[k] * b[k];
    return sum;
  }

  const bool same_;  // shared and specific parts see the same: no C_m and G_0 then
  const size_t n_, n0_, outputs_;
  const double count_, bias_penalty_;
  const unsigned threads_;
  const Cancel& cancel_;
  double squares_ = 0, fixed_ = 0;       // yᵀy; Σ log|A_m| − log|Λ_1|
  std::vector<Matrix> grams_, right_;    // G_m, r_m
  std::vector<Matrix> crosses_;          // C_mᵀ
  Matrix gram0_, right0_;                // G_0, r_0
  std::vector<Matrix> alone_;            // A_m⁻¹ r_m
  std::vector<Matrix> solved_;           // (A_m⁻¹ C_m)ᵀ
  Matrix schur_, schur_right_, shared_;  // S less Λ_0 and its right side, w_0
  std::vector<Matrix> weights_;          // w_m
};

void check(const JointCoordinates& given, const Outcomes& outcomes, const JointSettings& settings) {
  check(given.shared, outcomes, {0, settings.shared, 1, settings.bias_prior});
  check(given.specific, outcomes, {0, settings.specific, 1, settings.bias_prior});
  if (given.shared.rows != given.specific.rows)
    throw Error(Code::WRONG_SHAPE, "shared and specific coordinates must be of the same rows");
  if (!std::is_sorted(settings.specific.begin(), settings.specific.end()))
    throw Error(Code::BAD_ARGUMENT, "the specific penalties must rise");
}

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

JointModel fit_joint(const JointCoordinates& given, const Outcomes& outcomes, const JointSettings& settings,
                     unsigned threads, const Cancel& cancel) {
  check(given, outcomes, settings);
  Elimination elimination(given, outcomes, settings.bias_prior, threads, cancel);
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

std::vector<float> held_out_joint(const JointCoordinates& given, const Outcomes& outcomes,
                                  std::span<const uint32_t> fold, const JointSettings& settings,
                                  unsigned threads, const Cancel& cancel, const Progress& progress) {
  check(given, outcomes, settings);
  if (fold.size() != given.shared.rows) throw Error(Code::WRONG_SHAPE, "there must be one fold for each row");
  const size_t count = outcomes.row.size();
  const auto& [x, z] = given;
  std::vector<float> predictions(2 * count, 0.0f);
  const std::vector<uint32_t> folds = distinct(fold);
  for (size_t f = 0; f < folds.size(); ++f) {
    const Part part(outcomes, fold, folds[f]);
    const JointModel model = fit_joint(given, part.outcomes(), settings, threads, cancel);
    for (size_t e = 0; e < count; ++e) {
      const uint32_t i = outcomes.row[e], o = outcomes.output[e];
      if (fold[i] != folds[f]) continue;
      double shared = model.shared.back(), specific = model.bias[o];
      for (size_t k = 0; k < x.dimensions; ++k)
        shared += static_cast<double>(x.values[i * x.dimensions + k]) * model.shared[k];
      for (size_t k = 0; k < z.dimensions; ++k)
        specific +=
            static_cast<double>(z.values[i * z.dimensions + k]) * model.projection[k * outcomes.outputs + o];
      predictions[e] = static_cast<float>(shared);
      predictions[count + e] = static_cast<float>(specific);
    }
    if (progress) progress(f + 1, folds.size());
  }
  return predictions;
}

}  // namespace pointsman::train
