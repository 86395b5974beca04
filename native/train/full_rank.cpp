#include <algorithm>

#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"
#include "train/solvers.hpp"

namespace pointsman::train {
namespace {

// The outputs that were observed on the same rows as output `first` and follow it: [first, result).
size_t same_rows_end(const Residuals& r, size_t first) {
  const auto begin = r.row.begin();
  size_t end = first + 1;
  while (end + 1 < r.starts.size() && std::equal(begin + static_cast<std::ptrdiff_t>(r.starts[first]),
                                                 begin + static_cast<std::ptrdiff_t>(r.starts[first + 1]),
                                                 begin + static_cast<std::ptrdiff_t>(r.starts[end]),
                                                 begin + static_cast<std::ptrdiff_t>(r.starts[end + 1]))) {
    ++end;
  }
  return end;
}

}  // namespace

// One ridge regression an output; a full matrix of outcomes needs one factorisation for all of them.
std::vector<Factors> fit_full(const Coordinates& z, const Residuals& residuals, const Settings& settings,
                              unsigned threads, const Cancel& cancel) {
  const size_t outputs = residuals.bias.size(), q = z.dimensions;
  std::vector<Factors> models(settings.penalties.size());
  for (Factors& model : models) {
    model.rank = outputs;
    model.bias = residuals.bias;
    model.vectors.assign(outputs * outputs, 0.0f);
    for (size_t o = 0; o < outputs; ++o) model.vectors[o * outputs + o] = 1.0f;
    model.projection.assign(q * outputs, 0.0f);
  }
  for (size_t first = 0; first < outputs;) {
    const size_t end = same_rows_end(residuals, first);
    std::vector<float> weight(z.rows, 0.0f);
    for (size_t e = residuals.starts[first]; e < residuals.starts[first + 1]; ++e)
      weight[residuals.row[e]] += 1;
    const std::vector<double> matrix = gram(z, weight, threads, cancel);
    std::vector<std::vector<double>> factors(models.size());
    ThreadPool::shared().parallel_for(models.size(), threads, [&](size_t m, unsigned) {
      factors[m] = ridge_factor(matrix, q, settings.penalties[m] * settings.penalties[m]);
    });
    ThreadPool::shared().parallel_for(end - first, threads, [&](size_t n, unsigned) {
      cancel.check();
      const size_t o = first + n;
      std::vector<double> right(q, 0.0);
      for (size_t e = residuals.starts[o]; e < residuals.starts[o + 1]; ++e) {
        const float* zi = z.values.data() + residuals.row[e] * q;
        for (size_t k = 0; k < q; ++k) right[k] += static_cast<double>(residuals.value[e]) * zi[k];
      }
      for (size_t m = 0; m < models.size(); ++m) {
        std::vector<double> x = right;
        cholesky_solve(factors[m], q, x);
        for (size_t k = 0; k < q; ++k) models[m].projection[k * outputs + o] = static_cast<float>(x[k]);
      }
    });
    first = end;
  }
  return models;
}

}  // namespace pointsman::train
