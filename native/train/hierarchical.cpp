#include "train/hierarchical.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"
#include "train/solvers.hpp"

namespace pointsman::train {
namespace {

using Vector = std::vector<double>;

constexpr double kFlat = 1e-3;              // ρ of the population's coefficient
constexpr size_t kMatrixBytes = 128 << 20;  // of all G_m that are kept at a time
constexpr double kLeastVariance = 1e-10;
// One ρ serves all coordinates: many that scores say nothing of must not shut out the few that they do.
constexpr double kMostPenalty = 1;

// Outcomes sorted by expert: those of expert m are [starts[m], starts[m + 1]).
struct ByExpert {
  explicit ByExpert(const Hierarchical& problem)
      : rest(residuals(problem.outcomes, 0)), n(problem.x.dimensions + 1) {
    for (size_t m = 0; m < problem.outcomes.outputs; ++m) {  // residuals() takes the mean off; we do not
      for (size_t e = rest.starts[m]; e < rest.starts[m + 1]; ++e) rest.value[e] += rest.bias[m];
    }
  }
  size_t count(size_t m) const { return rest.starts[m + 1] - rest.starts[m]; }

  Residuals rest;
  size_t n;
};

// G_m, r_m and Σ y² of one expert.
struct Sums {
  Vector gram, right;
  double squares = 0, count = 0;
};

Sums sums_of(const Hierarchical& problem, const ByExpert& sorted, size_t m) {
  const size_t n = sorted.n, q = n - 1;
  Sums out{Vector(n * n, 0.0), Vector(n, 0.0)};
  Vector x(n, 1.0);
  for (size_t e = sorted.rest.starts[m]; e < sorted.rest.starts[m + 1]; ++e) {
    const float* xi = problem.x.values.data() + sorted.rest.row[e] * q;
    std::copy_n(xi, q, x.begin());
    const double y = sorted.rest.value[e];
    for (size_t j = 0; j < n; ++j) {
      double* to = &out.gram[j * n];
      for (size_t k = 0; k <= j; ++k) to[k] += x[j] * x[k];
      out.right[j] += x[j] * y;
    }
    out.squares += y * y;
    ++out.count;
  }
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) out.gram[k * n + j] = out.gram[j * n + k];
  }
  return out;
}

// M f for M of rows × f.size().
void times(std::span<const double> matrix, std::span<const float> f, Vector& out) {
  for (size_t j = 0; j < out.size(); ++j) {
    double sum = 0;
    for (size_t k = 0; k < f.size(); ++k) sum += matrix[j * f.size() + k] * f[k];
    out[j] = sum;
  }
}

// What one expert says for given parameters.
struct Share {
  Vector weight;       // w = B f + δ
  Vector variance;     // C_jj
  double squares = 0;  // Σ (y − ⟨w, x̃⟩)² + tr(G C)
  double evidence = 0;
};

class Model {
 public:
  Model(const Hierarchical& problem, const ByExpert& sorted, unsigned threads, const Cancel& cancel)
      : problem_(problem), n_(sorted.n), threads_(threads), cancel_(cancel) {
    std::vector<size_t> with;
    for (size_t m = 0; m < problem.outcomes.outputs; ++m) {
      if (sorted.count(m) > 0) with.push_back(m);
    }
    const size_t most = std::max<size_t>(1, kMatrixBytes / (sizeof(double) * n_ * n_));
    const size_t taking = std::min(with.size(), most);
    for (size_t t = 0; t < taking; ++t) experts_.push_back(with[t * with.size() / taking]);
    sums_.resize(taking);
    ThreadPool::shared().parallel_for(taking, threads, [&](size_t t, unsigned) {
      cancel.check();
      sums_[t] = sums_of(problem, sorted, experts_[t]);
    });
    for (const Sums& each : sums_) {
      squares_ += each.squares;
      count_ += each.count;
    }
    const size_t width = problem.width;
    moments_.assign(width * width, 0.0);
    for (const size_t m : experts_) {
      const auto f = feature(m);
      for (size_t a = 0; a < width; ++a) {
        for (size_t b = 0; b < width; ++b) moments_[a * width + b] += static_cast<double>(f[a]) * f[b];
      }
    }
  }

  Hierarchy start() const {
    const double variance = count_ > 0 ? std::max(squares_ / count_, kLeastVariance) : 1;
    Hierarchy out{0.8 * variance, Vector(n_, 0.0), 1, Vector(n_ * problem_.width, 0.0), 0};
    // A tenth of the outcomes' variance for each coordinate's part: EM goes on from there.
    Vector spread(n_, 0.0);
    for (const Sums& each : sums_) {
      for (size_t j = 0; j < n_; ++j) spread[j] += each.gram[j * n_ + j];
    }
    for (size_t j = 0; j < n_; ++j) {
      const double mean_square = count_ > 0 ? spread[j] / count_ : 0;
      out.variance[j] = mean_square > 0 ? 0.1 * variance / mean_square : 1;
    }
    return out;
  }

  // One round of EM. Without `all` only B moves. The evidence is that of the parameters before the round.
  void round(Hierarchy& model, std::span<const uint32_t> group, bool all) {
    std::vector<Share> shares(experts_.size());
    if (all || factors_.empty()) factors_.assign(experts_.size(), {});
    ThreadPool::shared().parallel_for(experts_.size(), threads_, [&](size_t t, unsigned) {
      cancel_.check();
      shares[t] = share(model, t, all);
    });
    const size_t width = problem_.width;
    Vector cross(n_ * width, 0.0);  // Σ w fᵀ
    double evidence = 0, squares = 0;
    for (size_t t = 0; t < shares.size(); ++t) {
      const auto f = feature(experts_[t]);
      for (size_t j = 0; j < n_; ++j) {
        for (size_t k = 0; k < width; ++k) cross[j * width + k] += shares[t].weight[j] * f[k];
      }
      evidence += shares[t].evidence;
      squares += shares[t].squares;
    }
    Vector factor = moments_;
    for (size_t k = 0; k < width; ++k) factor[k * width + k] += k + 1 == width ? kFlat : model.penalty;
    cholesky(factor, width);
    for (size_t j = 0; j < n_; ++j) {
      const std::span<double> row(&cross[j * width], width);
      cholesky_solve(factor, width, row);
      std::copy(row.begin(), row.end(), &model.map[j * width]);
    }
    model.evidence = evidence;
    if (!all) return;
    update_variance(model, group, shares);
    update_penalty(model, cholesky_inverse(factor, width));
    if (count_ > 0) model.noise = std::max(squares / count_, kLeastVariance);
  }

 private:
  std::span<const float> feature(size_t m) const {
    return problem_.features.subspan(m * problem_.width, problem_.width);
  }

  Share share(const Hierarchy& model, size_t t, bool all) {
    const Sums& own = sums_[t];
    Vector& factor = factors_[t];
    if (factor.empty()) {
      factor = own.gram;
      for (double& each : factor) each /= model.noise;
      for (size_t j = 0; j < n_; ++j) factor[j * n_ + j] += 1 / model.variance[j];
      cholesky(factor, n_);
    }
    Vector mean(n_);
    times(model.map, feature(experts_[t]), mean);
    Vector rest = own.right;  // X̃ᵀ (y − X̃ B f)
    double off = own.squares;
    for (size_t j = 0; j < n_; ++j) {
      double product = 0;
      for (size_t k = 0; k < n_; ++k) product += own.gram[j * n_ + k] * mean[k];
      rest[j] -= product;
      off -= mean[j] * (own.right[j] + rest[j]);
    }
    Vector delta = rest;
    for (double& each : delta) each /= model.noise;
    cholesky_solve(factor, n_, delta);
    Share out;
    out.weight = mean;
    for (size_t j = 0; j < n_; ++j) out.weight[j] += delta[j];
    if (!all) return out;
    double explained = 0, log_determinant = 0;
    for (size_t j = 0; j < n_; ++j) {
      explained += rest[j] * delta[j];
      log_determinant += 2 * std::log(factor[j * n_ + j]) + std::log(model.variance[j]);
    }
    out.evidence = -0.5 * (own.count * std::log(2 * std::numbers::pi * model.noise) +
                           (off - explained) / model.noise + log_determinant);
    const Vector covariance = cholesky_inverse(factor, n_);
    double inside = 0;  // δᵀ G δ
    double trace = 0;   // tr(V⁻¹ C)
    for (size_t j = 0; j < n_; ++j) {
      double product = 0;
      for (size_t k = 0; k < n_; ++k) product += own.gram[j * n_ + k] * delta[k];
      inside += delta[j] * product;
      const double c = covariance[j * n_ + j];
      trace += c / model.variance[j];
      out.variance.push_back(c);
    }
    const double fit = off - 2 * explained + inside;
    out.squares = std::max(fit, 0.0) + model.noise * (static_cast<double>(n_) - trace);
    return out;
  }

  void update_variance(Hierarchy& model, std::span<const uint32_t> group,
                       std::span<const Share> shares) const {
    const size_t groups = *std::max_element(group.begin(), group.end()) + size_t{1};
    Vector sum(groups, 0.0), count(groups, 0.0);
    Vector mean(n_);
    for (size_t t = 0; t < shares.size(); ++t) {
      times(model.map, feature(experts_[t]), mean);
      for (size_t j = 0; j < n_; ++j) {
        const double delta = shares[t].weight[j] - mean[j];
        sum[group[j]] += delta * delta + shares[t].variance[j];
        ++count[group[j]];
      }
    }
    for (size_t j = 0; j < n_; ++j)
      model.variance[j] = std::max(sum[group[j]] / std::max(1.0, count[group[j]]), kLeastVariance);
  }

  void update_penalty(Hierarchy& model, const Vector& inverse) const {
    const size_t width = problem_.width;
    if (width < 2) return;
    double sum = 0;
    for (size_t j = 0; j < n_; ++j) {
      for (size_t k = 0; k + 1 < width; ++k) {
        const double b = model.map[j * width + k];
        sum += b * b / model.variance[j] + inverse[k * width + k];
      }
    }
    model.penalty =
        std::clamp(static_cast<double>(n_ * (width - 1)) / std::max(sum, 1e-12), 1e-4, kMostPenalty);
  }

  const Hierarchical& problem_;
  const size_t n_;
  const unsigned threads_;
  const Cancel& cancel_;
  std::vector<size_t> experts_;
  std::vector<Sums> sums_;
  std::vector<Vector> factors_;
  Vector moments_;  // Σ f fᵀ
  double squares_ = 0, count_ = 0;
};

void check(const Hierarchical& problem) {
  check(problem.x, problem.outcomes, {0, {1}, 1, 0});
  if (problem.width < 1 || problem.features.size() != problem.outcomes.outputs * problem.width)
    throw Error(Code::WRONG_SHAPE, "the features must be experts × width");
  if (!std::all_of(problem.features.begin(), problem.features.end(),
                   [](float f) { return std::isfinite(f); }))
    throw Error(Code::NOT_FINITE, "the features must be finite");
}

void check(const Hierarchical& problem, const Hierarchy& model) {
  const size_t n = problem.x.dimensions + 1;
  if (model.variance.size() != n || model.map.size() != n * problem.width)
    throw Error(Code::WRONG_SHAPE, "the hierarchy does not fit the coordinates and the features");
  const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
  if (!positive(model.noise) || !positive(model.penalty) ||
      !std::all_of(model.variance.begin(), model.variance.end(), positive))
    throw Error(Code::BAD_ARGUMENT, "variances and penalty must be positive");
  if (!std::all_of(model.map.begin(), model.map.end(), [](double b) { return std::isfinite(b); }))
    throw Error(Code::NOT_FINITE, "the map must be finite");
}

// What is left of S = V^½ G V^½ / s² besides its leading columns goes to the diagonal.
void compress(Vector information, size_t n, size_t rank, float* diagonal, float* columns) {
  const Eigen eigen = rank > 0 ? symmetric_eigen(information, n) : Eigen{};
  for (size_t k = 0; k < std::min(rank, n); ++k) {
    const double scale = std::sqrt(std::max(eigen.values[k], 0.0));
    for (size_t j = 0; j < n; ++j) {
      const double column = scale * eigen.vectors[j * n + k];
      columns[k * n + j] = static_cast<float>(column);
      information[j * n + j] -= column * column;
    }
  }
  for (size_t j = 0; j < n; ++j) diagonal[j] = static_cast<float>(1 + std::max(information[j * n + j], 0.0));
}

}  // namespace

Hierarchy fit_hierarchy(const Hierarchical& problem, std::span<const uint32_t> group, size_t rounds,
                        unsigned threads, const Cancel& cancel, const Progress& progress) {
  check(problem);
  const size_t n = problem.x.dimensions + 1;
  if (group.size() != n || std::any_of(group.begin(), group.end(), [n](uint32_t g) { return g >= n; }))
    throw Error(Code::WRONG_SHAPE, "each coordinate and the constant need a group below their number");
  const ByExpert sorted(problem);
  Model model(problem, sorted, threads, cancel);
  Hierarchy out = model.start();
  for (size_t r = 0; r < rounds; ++r) {
    model.round(out, group, true);
    if (progress) progress(r + 1, rounds);
  }
  return out;
}

Posteriors posteriors(const Hierarchical& problem, const Hierarchy& hierarchy, size_t rank, unsigned threads,
                      const Cancel& cancel) {
  check(problem);
  check(problem, hierarchy);
  const ByExpert sorted(problem);
  const size_t n = sorted.n, experts = problem.outcomes.outputs;
  Posteriors out{std::vector<float>(experts * n, 0.0f), std::vector<float>(experts * n, 1.0f),
                 std::vector<float>(experts * rank * n, 0.0f)};
  Vector root(n);
  for (size_t j = 0; j < n; ++j) root[j] = std::sqrt(hierarchy.variance[j]);
  ThreadPool::shared().parallel_for(experts, threads, [&](size_t m, unsigned) {
    cancel.check();
    if (sorted.count(m) == 0) return;
    const Sums own = sums_of(problem, sorted, m);
    Vector mean(n), right = own.right, information(n * n);
    times(hierarchy.map, problem.features.subspan(m * problem.width, problem.width), mean);
    for (size_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < n; ++k) {
        right[j] -= own.gram[j * n + k] * mean[k];
        information[j * n + k] = root[j] * own.gram[j * n + k] * root[k] / hierarchy.noise;
      }
    }
    for (size_t j = 0; j < n; ++j) right[j] *= root[j] / hierarchy.noise;
    cholesky_solve(ridge_factor(information, n, 1), n, right);
    std::copy(right.begin(), right.end(), &out.mean[m * n]);
    compress(std::move(information), n, rank, &out.diagonal[m * n], out.columns.data() + m * rank * n);
  });
  return out;
}

std::vector<float> held_out_hierarchy(const Hierarchical& problem, std::span<const uint32_t> fold,
                                      const Hierarchy& hierarchy, size_t rounds, unsigned threads,
                                      const Cancel& cancel, const Progress& progress) {
  check(problem);
  check(problem, hierarchy);
  if (fold.size() != problem.x.rows) throw Error(Code::WRONG_SHAPE, "there must be one fold for each row");
  const size_t count = problem.outcomes.row.size(), n = problem.x.dimensions + 1;
  std::vector<float> predictions(count, 0.0f);
  const std::vector<uint32_t> folds = distinct(fold);
  for (size_t f = 0; f < folds.size(); ++f) {
    const Part part(problem.outcomes, fold, folds[f]);
    Hierarchical rest = problem;
    rest.outcomes = part.outcomes();
    Hierarchy fitted = hierarchy;
    std::fill(fitted.map.begin(), fitted.map.end(), 0.0);
    {
      const ByExpert sorted(rest);
      Model model(rest, sorted, threads, cancel);
      for (size_t r = 0; r < rounds; ++r) model.round(fitted, {}, false);
    }
    const Posteriors found = posteriors(rest, fitted, 0, threads, cancel);
    std::vector<double> weights(problem.outcomes.outputs * n);
    Vector mean(n);
    for (size_t m = 0; m < problem.outcomes.outputs; ++m) {
      times(fitted.map, problem.features.subspan(m * problem.width, problem.width), mean);
      for (size_t j = 0; j < n; ++j)
        weights[m * n + j] = mean[j] + std::sqrt(fitted.variance[j]) * found.mean[m * n + j];
    }
    for (size_t e = 0; e < count; ++e) {
      const uint32_t i = problem.outcomes.row[e];
      if (fold[i] != folds[f]) continue;
      const double* w = &weights[problem.outcomes.output[e] * n];
      double sum = w[n - 1];
      for (size_t j = 0; j + 1 < n; ++j) sum += w[j] * problem.x.values[i * (n - 1) + j];
      predictions[e] = static_cast<float>(sum);
    }
    if (progress) progress(f + 1, folds.size());
  }
  return predictions;
}

}  // namespace pointsman::train
