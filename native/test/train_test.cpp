#include <doctest/doctest.h>

#include <cmath>

#include "pointsman/hash.hpp"
#include "train/dense.hpp"
#include "train/joint.hpp"
#include "train/outcomes.hpp"
#include "train/spectral.hpp"

using namespace pointsman;
using namespace pointsman::train;

namespace {

// Uniform in [-1, 1).
double noise(uint64_t i) { return static_cast<double>(mix64(i) >> 11) * 0x1p-52 - 1; }

// n conversations with q coordinates, and outputs that follow a model of the given rank.
struct Sample {
  Sample(size_t n, size_t q, size_t outputs, size_t rank, size_t each) : coordinates(n * q) {
    for (size_t i = 0; i < n * q; ++i) coordinates[i] = static_cast<float>(noise(i));
    for (size_t i = 0; i < n; ++i) {
      for (size_t s = 0; s < each; ++s) {
        const size_t o = each == outputs ? s : mix64(i * 31 + s) % outputs;
        double t = noise(1'000'003 + o);
        for (size_t j = 0; j < rank; ++j) {
          double psi = 0;
          for (size_t k = 0; k < q; ++k) psi += noise(7'000'000 + k * rank + j) * coordinates[i * q + k];
          t += psi * noise(9'000'000 + o * rank + j);
        }
        row.push_back(static_cast<uint32_t>(i));
        output.push_back(static_cast<uint32_t>(o));
        target.push_back(static_cast<float>(t));
      }
    }
    z = {coordinates, n, q};
    outcomes = {row, output, target, outputs};
  }
  std::vector<float> coordinates, target;
  std::vector<uint32_t> row, output;
  Coordinates z;
  Outcomes outcomes;
};

double held_out_error(const Sample& sample, const Settings& settings) {
  std::vector<uint32_t> fold(sample.z.rows);
  for (size_t i = 0; i < fold.size(); ++i) fold[i] = static_cast<uint32_t>(i % 5);
  const auto predictions = held_out(sample.z, sample.outcomes, fold, settings, 2, Cancel(), {});
  double error = 0;
  for (size_t e = 0; e < sample.target.size(); ++e) error += std::pow(predictions[e] - sample.target[e], 2);
  return error / static_cast<double>(sample.target.size());
}

}  // namespace

TEST_CASE("eigenvectors rebuild the matrix") {
  const size_t n = 23;
  std::vector<double> a(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) a[i * n + j] = a[j * n + i] = noise(i * n + j);
  }
  const Eigen eigen = symmetric_eigen(a, n);
  for (size_t i = 0; i < n; ++i) {
    if (i > 0) CHECK(eigen.values[i] <= eigen.values[i - 1]);
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t k = 0; k < n; ++k)
        sum += eigen.vectors[i * n + k] * eigen.values[k] * eigen.vectors[j * n + k];
      CHECK(sum == doctest::Approx(a[i * n + j]).epsilon(1e-9));
    }
  }
}

TEST_CASE(
    "the spectral basis is orthonormal, diagonalises X Xᵀ, and has the same bits on every thread count") {
  std::vector<uint32_t> starts{0}, columns;
  std::vector<float> values;
  for (uint32_t i = 0; i < 300; ++i) {
    for (uint32_t c = i % 5; c < 40; c += 5) {
      columns.push_back(c);
      values.push_back(static_cast<float>(noise(i * 41 + c)));
    }
    starts.push_back(static_cast<uint32_t>(columns.size()));
  }
  const SparseRows rows{starts, columns, values, 40};
  rows.check();
  const Spectrum basis = spectral_basis(rows, 10, 1, 1, Cancel(), {}),
                 again = spectral_basis(rows, 10, 1, 5, Cancel(), {});
  CHECK(basis.vectors == again.vectors);
  REQUIRE(basis.dimensions == 10);
  const auto back = fold_projection(
      rows, basis.vectors, 10,
      [] {
        std::vector<float> identity(100, 0.0f);
        for (size_t i = 0; i < 10; ++i) identity[i * 11] = 1;
        return identity;
      }(),
      10, 2, Cancel());
  std::vector<double> image(300 * 10, 0.0);  // X Xᵀ U
  for (size_t i = 0; i < 300; ++i) {
    for (uint32_t e = starts[i]; e < starts[i + 1]; ++e) {
      for (size_t j = 0; j < 10; ++j) image[i * 10 + j] += double{values[e]} * back[columns[e] * 10 + j];
    }
  }
  for (size_t j = 0; j < 10; ++j) {
    double norm = 0, rest = 0;
    for (size_t i = 0; i < 300; ++i) {
      norm += std::pow(basis.vectors[i * 10 + j], 2);
      rest += std::pow(image[i * 10 + j] - basis.eigenvalues[j] * basis.vectors[i * 10 + j], 2);
    }
    CHECK(norm == doctest::Approx(1).epsilon(1e-4));
    CHECK(std::sqrt(rest) < 0.1 * basis.eigenvalues[j]);
  }
}

TEST_CASE("full rank: a linear truth is found, biases alone miss it") {
  const Sample sample(400, 6, 5, 2, 5);
  // Biases are means, taken off before the regression: that leaves a little.
  CHECK(held_out_error(sample, {5, {0.05}, 1, 0}) < 5e-3);
  CHECK(held_out_error(sample, {0, {1}, 1, 0}) > 0.1);
}

TEST_CASE("low rank: sparse outcomes of many outputs share what they know") {
  const Sample sample(3000, 8, 150, 2, 1);
  const double low = held_out_error(sample, {2, {0.5}, 0.1, 0}),
               biases = held_out_error(sample, {0, {1}, 1, 0});
  CHECK(low < 0.15 * biases);
}

TEST_CASE("the same bits on every thread count") {
  const Sample sample(500, 8, 40, 2, 3);
  for (const size_t rank : {size_t{3}, size_t{40}}) {
    const Settings settings{rank, {1.0, 3.0}, 5, 1};
    const auto one = fit(sample.z, sample.outcomes, settings, 1, Cancel());
    const auto many = fit(sample.z, sample.outcomes, settings, 6, Cancel());
    for (size_t m = 0; m < 2; ++m) {
      CHECK(one[m].vectors == many[m].vectors);
      CHECK(one[m].projection == many[m].projection);
      CHECK(one[m].bias == many[m].bias);
    }
  }
}

TEST_CASE("the inverse from a Cholesky factor") {
  const size_t n = 17;
  std::vector<double> a(n * n), product(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j)
      a[i * n + j] = (i == j ? 9 : 0) + noise(std::min(i, j) * n + std::max(i, j));
  }
  std::vector<double> factor = a;
  cholesky(factor, n);
  const auto inverse = cholesky_inverse(factor, n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t k = 0; k < n; ++k) sum += a[i * n + k] * inverse[k * n + j];
      CHECK(sum == doctest::Approx(i == j).epsilon(1e-12));
    }
  }
}

// The same model as ridge regression on the features [x̃; e_m ⊗ z̃], solved whole: w_0, then w_1, w_2 …
struct Whole {
  Whole(const Coordinates& x, const Coordinates& z, const Sample& sample, double shared, double specific,
        double bias_prior) {
    const size_t n0 = x.dimensions + 1, n = z.dimensions + 1, all = n0 + n * sample.outcomes.outputs;
    std::vector<double> matrix(all * all, 0.0), penalties(all);
    weights.assign(all, 0.0);
    for (size_t k = 0; k < all; ++k) {
      const bool constant = k < n0 ? k == n0 - 1 : (k - n0) % n == n - 1;
      penalties[k] =
          k < n0 ? (constant ? 1e-3 : shared * shared) : (constant ? bias_prior : specific * specific);
      matrix[k * all + k] = penalties[k];
    }
    double squares = 0;
    for (size_t e = 0; e < sample.row.size(); ++e) {
      std::vector<double> row(all, 0.0);
      for (size_t k = 0; k < n0; ++k) row[k] = k == n0 - 1 ? 1 : x.values[sample.row[e] * (n0 - 1) + k];
      double* own = &row[n0 + n * sample.output[e]];
      for (size_t k = 0; k < n; ++k) own[k] = k == n - 1 ? 1 : z.values[sample.row[e] * (n - 1) + k];
      for (size_t a = 0; a < all; ++a) {
        weights[a] += row[a] * sample.target[e];
        for (size_t b = 0; b < all; ++b) matrix[a * all + b] += row[a] * row[b];
      }
      squares += double{sample.target[e]} * sample.target[e];
    }
    const std::vector<double> right = weights;
    cholesky(matrix, all);
    cholesky_solve(matrix, all, weights);
    double determinant = 0;
    for (size_t k = 0; k < all; ++k) {
      squares -= right[k] * weights[k];
      determinant += 2 * std::log(matrix[k * all + k]) - std::log(penalties[k]);
    }
    const auto count = static_cast<double>(sample.row.size());
    evidence = -0.5 * (count * std::log(squares / count) + determinant);
  }
  std::vector<double> weights;
  double evidence = 0;
};

TEST_CASE("the joint regression is the one regression on shared and specific features") {
  Sample sample(60, 4, 3, 2, 1);
  for (size_t e = 0; e < sample.target.size(); ++e) sample.target[e] += static_cast<float>(noise(77'000 + e));
  std::vector<float> other(60 * 2);
  for (size_t i = 0; i < other.size(); ++i) other[i] = static_cast<float>(noise(91'000 + i));
  const Coordinates x{other, 60, 2};
  const size_t q = 4, n = q + 1;
  const auto same = [&](const JointModel& model, const std::vector<double>& w) {
    const size_t n0 = model.shared.size();
    for (size_t k = 0; k < n0; ++k) CHECK(model.shared[k] == doctest::Approx(w[k]).epsilon(1e-5));
    for (size_t m = 0; m < 3; ++m) {
      for (size_t k = 0; k < q; ++k)
        CHECK(model.projection[k * 3 + m] == doctest::Approx(w[n0 + n * m + k]).epsilon(1e-5));
      CHECK(model.bias[m] == doctest::Approx(w[n0 + n * m + q]).epsilon(1e-5));
    }
  };
  const JointModel mixed = fit_joint({x, sample.z}, sample.outcomes, {{1.5}, {2}, 3}, 2, Cancel());
  const Whole whole(x, sample.z, sample, 1.5, 2, 3);
  CHECK(mixed.shared.size() == 3);
  CHECK(mixed.evidence == doctest::Approx(whole.evidence).epsilon(1e-9));
  same(mixed, whole.weights);
  const JointCoordinates both{sample.z, sample.z};
  std::vector<Whole> wholes;
  for (const double specific : {0.5, 2.0, 8.0}) {
    wholes.emplace_back(sample.z, sample.z, sample, 1.5, specific, 3);
    const JointModel model = fit_joint(both, sample.outcomes, {{1.5}, {specific}, 3}, 2, Cancel());
    CHECK(model.evidence == doctest::Approx(wholes.back().evidence).epsilon(1e-9));
    same(model, wholes.back().weights);
  }
  // Of several penalties: the mean from the one of the largest evidence on.
  size_t chosen = 0;
  for (size_t s = 1; s < 3; ++s) {
    if (wholes[s].evidence > wholes[chosen].evidence) chosen = s;
  }
  std::vector<double> mean(wholes[0].weights.size(), 0.0);
  for (size_t s = chosen; s < 3; ++s) {
    for (size_t k = 0; k < mean.size(); ++k)
      mean[k] += wholes[s].weights[k] / static_cast<double>(3 - chosen);
  }
  const JointModel model = fit_joint(both, sample.outcomes, {{1.5}, {0.5, 2, 8}, 3}, 2, Cancel());
  CHECK(model.specific_penalty == std::vector{0.5, 2.0, 8.0}[chosen]);
  same(model, mean);
  CHECK_THROWS_AS(fit_joint(both, sample.outcomes, {{1}, {8, 2}, 3}, 1, Cancel()), Error);
  CHECK_THROWS_AS(
      fit_joint({{x.values.first(20), 10, 2}, sample.z}, sample.outcomes, {{1}, {2}, 3}, 1, Cancel()), Error);
  CHECK_THROWS_AS(fit_joint(both, sample.outcomes, {{}, {2}, 3}, 1, Cancel()), Error);
}

TEST_CASE("one log: what is hard for all is told from what an expert is bad at") {
  Sample sample(3000, 6, 5, 2, 1);
  for (size_t e = 0; e < sample.target.size(); ++e)
    sample.target[e] += static_cast<float>(5 * sample.coordinates[sample.row[e] * 6]);  // difficulty
  std::vector<uint32_t> fold(sample.z.rows);
  for (size_t i = 0; i < fold.size(); ++i) fold[i] = static_cast<uint32_t>(i % 5);
  const JointSettings settings{{0.1, 1, 10}, {0.1}, 0};
  const auto parts = held_out_joint({sample.z, sample.z}, sample.outcomes, fold, settings, 2, Cancel(), {});
  const size_t count = sample.target.size();
  double error = 0;
  for (size_t e = 0; e < count; ++e) error += std::pow(parts[e] + parts[count + e] - sample.target[e], 2);
  CHECK(error < 1e-3 * static_cast<double>(count));
  const JointModel one = fit_joint({sample.z, sample.z}, sample.outcomes, settings, 1, Cancel()),
                   many = fit_joint({sample.z, sample.z}, sample.outcomes, settings, 6, Cancel());
  CHECK(one.evidence == many.evidence);
  CHECK(one.shared == many.shared);
  CHECK(one.bias == many.bias);
  CHECK(one.projection == many.projection);
  CHECK(one.shared[0] == doctest::Approx(5).epsilon(0.3));
}

TEST_CASE("indices out of range and a request to stop are errors") {
  Sample sample(10, 2, 3, 1, 1);
  sample.row[0] = 10;
  CHECK_THROWS_AS(fit(sample.z, sample.outcomes, {1, {1}, 1, 0}, 1, Cancel()), Error);
  sample.row[0] = 0;
  sample.output[0] = 3;
  CHECK_THROWS_AS(fit(sample.z, sample.outcomes, {1, {1}, 1, 0}, 1, Cancel()), Error);
  sample.output[0] = 0;
  CHECK_THROWS_AS(fit(sample.z, sample.outcomes, {1, {0}, 1, 0}, 1, Cancel()), Error);
  Cancel cancel;
  cancel.request();
  CHECK_THROWS_AS(fit(sample.z, sample.outcomes, {1, {1}, 1, 0}, 1, cancel), Error);
}
