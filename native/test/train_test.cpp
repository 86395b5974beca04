#include <doctest/doctest.h>

#include <cmath>

#include "pointsman/hash.hpp"
#include "train/dense.hpp"
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
  const auto image = project(rows, back, 10, 2, Cancel());  // X Xᵀ U
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
