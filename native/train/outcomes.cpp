#include "train/outcomes.hpp"

#include <algorithm>
#include <cmath>

#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"
#include "train/solvers.hpp"

namespace pointsman::train {

void check(const Coordinates& z, const Outcomes& outcomes, const Settings& settings) {
  if (z.values.size() != z.rows * z.dimensions)
    throw Error(Code::WRONG_SHAPE, "coordinates must be rows × dimensions");
  if (outcomes.row.size() != outcomes.target.size() || outcomes.output.size() != outcomes.target.size()) {
    throw Error(Code::WRONG_SHAPE, "each outcome needs a row, an output and a target");
  }
  if (settings.rank > outcomes.outputs ||
      (settings.rank < outcomes.outputs && settings.rank > z.dimensions)) {
    throw Error(Code::WRONG_SHAPE, "the rank exceeds the outputs or the dimensions");
  }
  for (const uint32_t row : outcomes.row) {
    if (row >= z.rows) throw Error(Code::WRONG_SHAPE, "an outcome's row is out of range");
  }
  for (const uint32_t output : outcomes.output) {
    if (output >= outcomes.outputs) throw Error(Code::WRONG_SHAPE, "an outcome's output is out of range");
  }
  const auto finite = [](float x) { return std::isfinite(x); };
  if (!std::all_of(outcomes.target.begin(), outcomes.target.end(), finite) ||
      !std::all_of(z.values.begin(), z.values.end(), finite)) {
    throw Error(Code::NOT_FINITE, "coordinates and targets must be finite");
  }
  const bool penalties = std::all_of(settings.penalties.begin(), settings.penalties.end(),
                                     [](double l) { return l > 0 && std::isfinite(l); });
  if (settings.penalties.empty() || !penalties || !(settings.shrinkage > 0) || !(settings.bias_prior >= 0)) {
    throw Error(Code::BAD_ARGUMENT, "penalties and shrinkage must be positive, the bias prior not negative");
  }
}

Residuals residuals(const Outcomes& outcomes, double bias_prior) {
  Residuals out;
  out.starts.assign(outcomes.outputs + 1, 0);
  for (const uint32_t o : outcomes.output) ++out.starts[o + 1];
  for (size_t o = 0; o < outcomes.outputs; ++o) out.starts[o + 1] += out.starts[o];
  out.row.resize(outcomes.row.size());
  out.value.resize(outcomes.row.size());
  out.bias.resize(outcomes.outputs);
  std::vector<size_t> next(out.starts.begin(), out.starts.end() - 1);
  for (size_t e = 0; e < outcomes.row.size(); ++e) {
    const size_t to = next[outcomes.output[e]]++;
    out.row[to] = outcomes.row[e];
    out.value[to] = outcomes.target[e];
  }
  for (size_t o = 0; o < outcomes.outputs; ++o) {
    double sum = 0;
    for (size_t e = out.starts[o]; e < out.starts[o + 1]; ++e) sum += out.value[e];
    const double count = static_cast<double>(out.starts[o + 1] - out.starts[o]);
    out.bias[o] = count == 0 ? 0.0f : static_cast<float>(sum / (count + bias_prior));
    for (size_t e = out.starts[o]; e < out.starts[o + 1]; ++e) out.value[e] -= out.bias[o];
  }
  return out;
}

Part::Part(const Outcomes& outcomes, std::span<const uint32_t> fold, uint32_t without)
    : outputs(outcomes.outputs) {
  for (size_t e = 0; e < outcomes.row.size(); ++e) {
    if (fold[outcomes.row[e]] == without) continue;
    row.push_back(outcomes.row[e]);
    output.push_back(outcomes.output[e]);
    target.push_back(outcomes.target[e]);
  }
}

std::vector<uint32_t> distinct(std::span<const uint32_t> fold) {
  std::vector<uint32_t> out(fold.begin(), fold.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<double> gram(const Coordinates& z, std::span<const float> weight, unsigned threads,
                         const Cancel& cancel) {
  const size_t q = z.dimensions;
  std::vector<double> out(q * q, 0.0);
  constexpr size_t kOwn = 8;  // rows of the result that one task owns
  ThreadPool::shared().parallel_for((q + kOwn - 1) / kOwn, threads, [&](size_t task, unsigned) {
    cancel.check();
    const size_t begin = task * kOwn, end = std::min(q, begin + kOwn);
    for (size_t i = 0; i < z.rows; ++i) {
      if (weight[i] == 0) continue;
      const float* zi = &z.values[i * q];
      for (size_t r = begin; r < end; ++r) {
        const double left = static_cast<double>(weight[i]) * zi[r];
        double* to = &out[r * q];
        for (size_t c = 0; c < end; ++c) to[c] += left * zi[c];  // the lower triangle is enough
      }
    }
  });
  return out;
}

std::vector<double> ridge_factor(std::vector<double> matrix, size_t n, double ridge) {
  for (size_t i = 0; i < n; ++i) matrix[i * n + i] += ridge;
  cholesky(matrix, n);
  return matrix;
}

std::vector<Factors> fit(const Coordinates& z, const Outcomes& outcomes, const Settings& settings,
                         unsigned threads, const Cancel& cancel) {
  check(z, outcomes, settings);
  const Residuals rest = residuals(outcomes, settings.bias_prior);
  if (settings.rank == 0)
    return std::vector<Factors>(settings.penalties.size(), Factors{0, rest.bias, {}, {}});
  if (settings.rank == outcomes.outputs) return fit_full(z, rest, settings, threads, cancel);
  std::vector<Factors> models;
  for (const double penalty : settings.penalties) {
    models.push_back(fit_low_rank(z, rest, settings, penalty, threads, cancel));
  }
  return models;
}

std::vector<float> held_out(const Coordinates& z, const Outcomes& outcomes, std::span<const uint32_t> fold,
                            const Settings& settings, unsigned threads, const Cancel& cancel,
                            const Progress& progress) {
  check(z, outcomes, settings);
  if (fold.size() != z.rows) throw Error(Code::WRONG_SHAPE, "there must be one fold for each row");
  const size_t count = outcomes.row.size();
  std::vector<float> predictions(settings.penalties.size() * count, 0.0f);
  const std::vector<uint32_t> folds = distinct(fold);
  for (size_t f = 0; f < folds.size(); ++f) {
    const Part part(outcomes, fold, folds[f]);
    const auto models = fit(z, part.outcomes(), settings, threads, cancel);
    ThreadPool::shared().parallel_for(models.size(), threads, [&](size_t m, unsigned) {
      const Factors& model = models[m];
      const size_t p = model.rank;
      const bool full = p == outcomes.outputs;  // φ_o is a unit vector: one product, not p
      std::vector<double> psi(p);
      uint32_t current = UINT32_MAX;
      for (size_t e = 0; e < count; ++e) {
        const uint32_t i = outcomes.row[e], o = outcomes.output[e];
        if (fold[i] != folds[f]) continue;
        const float* zi = z.values.data() + i * z.dimensions;
        double y = model.bias[o];
        if (full) {
          for (size_t k = 0; k < z.dimensions; ++k)
            y += static_cast<double>(zi[k]) * model.projection[k * p + o];
        } else if (p > 0) {
          if (i != current) {
            std::fill(psi.begin(), psi.end(), 0.0);
            for (size_t k = 0; k < z.dimensions; ++k) {
              for (size_t j = 0; j < p; ++j)
                psi[j] += static_cast<double>(zi[k]) * model.projection[k * p + j];
            }
            current = i;
          }
          for (size_t j = 0; j < p; ++j) y += psi[j] * model.vectors[o * p + j];
        }
        predictions[m * count + e] = static_cast<float>(y);
      }
    });
    if (progress) progress(f + 1, folds.size());
  }
  return predictions;
}

}  // namespace pointsman::train
