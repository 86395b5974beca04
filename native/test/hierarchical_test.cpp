// The hierarchical model against one dense solve, and against the marginal likelihood written out.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include "support.hpp"
#include "train/dense.hpp"
#include "train/hierarchical.hpp"

using namespace pointsman;
using namespace pointsman::train;

namespace {

using Vector = std::vector<double>;

constexpr size_t kDimensions = 3, kN = kDimensions + 1, kExperts = 6, kWidth = 2, kRows = 40;
const std::vector<uint32_t> kGroup{0, 0, 0, 1};

// Expert 0 has no outcome, expert 1 one.
struct World {
  World() {
    test::Random random(7);
    for (size_t i = 0; i < kRows * kDimensions; ++i) x.push_back(random.normal());
    for (size_t m = 0; m < kExperts; ++m) {
      features.push_back(random.normal());
      features.push_back(1);
    }
    Vector weight(kExperts * kN);
    for (size_t m = 0; m < kExperts; ++m) {
      for (size_t j = 0; j < kN; ++j)
        weight[m * kN + j] = 0.5 * features[m * 2] * (j == 1) + 0.4 * random.normal();
    }
    for (uint32_t i = 0; i < kRows; ++i) {
      const uint32_t m = i == 0 ? 1 : 2 + random.below(kExperts - 2);
      double y = weight[m * kN + kDimensions] + 0.3 * random.normal();
      for (size_t j = 0; j < kDimensions; ++j) y += weight[m * kN + j] * x[i * kDimensions + j];
      row.push_back(i);
      output.push_back(m);
      target.push_back(static_cast<float>(y));
    }
    problem = {{x, kRows, kDimensions}, {row, output, target, kExperts}, features, kWidth};
  }
  double coordinate(size_t i, size_t j) const { return j == kDimensions ? 1 : x[i * kDimensions + j]; }

  std::vector<float> x, features, target;
  std::vector<uint32_t> row, output;
  Hierarchical problem;
};

double mapped(const World& world, const Hierarchy& model, size_t m, size_t j) {
  double sum = 0;
  for (size_t k = 0; k < kWidth; ++k) sum += model.map[j * kWidth + k] * world.features[m * kWidth + k];
  return sum;
}

// log N(y; X̃ B f, s² I + X̃ V X̃ᵀ within each expert), by a Cholesky factor over the outcomes.
double log_likelihood(const World& world, const Hierarchy& model) {
  const size_t count = world.row.size();
  Vector covariance(count * count, 0.0), rest(count);
  for (size_t a = 0; a < count; ++a) {
    rest[a] = world.target[a];
    for (size_t j = 0; j < kN; ++j)
      rest[a] -= world.coordinate(world.row[a], j) * mapped(world, model, world.output[a], j);
    for (size_t b = 0; b < count; ++b) {
      if (a == b) covariance[a * count + b] += model.noise;
      if (world.output[a] != world.output[b]) continue;
      for (size_t j = 0; j < kN; ++j)
        covariance[a * count + b] +=
            world.coordinate(world.row[a], j) * model.variance[j] * world.coordinate(world.row[b], j);
    }
  }
  Vector solved = rest;
  cholesky(covariance, count);
  cholesky_solve(covariance, count, solved);
  double out = -0.5 * static_cast<double>(count) * std::log(2 * std::numbers::pi);
  for (size_t a = 0; a < count; ++a) out -= 0.5 * rest[a] * solved[a] + std::log(covariance[a * count + a]);
  return out;
}

// B has a prior of its own: of the likelihood times that prior the fitted parameters are the mode.
double log_posterior(const World& world, const Hierarchy& model) {
  double out = log_likelihood(world, model);
  for (size_t j = 0; j < kN; ++j) {
    for (size_t k = 0; k < kWidth; ++k) {
      const double precision = (k + 1 == kWidth ? 1e-3 : model.penalty) / model.variance[j];
      out -= 0.5 * precision * model.map[j * kWidth + k] * model.map[j * kWidth + k];
    }
  }
  return out;
}

Hierarchy fitted(const World& world, size_t rounds, unsigned threads = 2) {
  return fit_hierarchy(world.problem, kGroup, rounds, threads, Cancel(), {});
}

// Of one expert in the coordinates u = V^-½ δ: the precision I + S, and the mean.
struct Dense {
  Dense(const World& world, const Hierarchy& model, size_t m) : precision(kN * kN, 0.0), mean(kN, 0.0) {
    for (size_t j = 0; j < kN; ++j) precision[j * kN + j] = 1;
    for (size_t e = 0; e < world.row.size(); ++e) {
      if (world.output[e] != m) continue;
      double rest = world.target[e];
      Vector z(kN);
      for (size_t j = 0; j < kN; ++j) {
        rest -= world.coordinate(world.row[e], j) * mapped(world, model, m, j);
        z[j] = std::sqrt(model.variance[j]) * world.coordinate(world.row[e], j);
      }
      for (size_t j = 0; j < kN; ++j) {
        mean[j] += z[j] * rest / model.noise;
        for (size_t k = 0; k < kN; ++k) precision[j * kN + k] += z[j] * z[k] / model.noise;
      }
    }
    Vector factor = precision;
    cholesky(factor, kN);
    cholesky_solve(factor, kN, mean);
  }
  Vector precision, mean;
};

Vector precision_of(const Posteriors& found, size_t rank, size_t m) {
  Vector out(kN * kN, 0.0);
  for (size_t j = 0; j < kN; ++j) {
    out[j * kN + j] = found.diagonal[m * kN + j];
    for (size_t k = 0; k < kN; ++k) {
      for (size_t c = 0; c < rank; ++c) {
        const float* column = &found.columns[(m * rank + c) * kN];
        out[j * kN + k] += double{column[j]} * column[k];
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("the evidence is that of the marginal normal distribution, whatever the parameters") {
  const World world;
  for (const size_t rounds : {0, 1, 7}) {
    const Hierarchy model = fitted(world, rounds);
    // A further round reports the evidence of the parameters that it began with.
    CHECK(fitted(world, rounds + 1).evidence == doctest::Approx(log_likelihood(world, model)).epsilon(1e-7));
  }
}

TEST_CASE("the fit is a mode: no parameter can be moved without losing") {
  const World world;
  const Hierarchy model = fitted(world, 4000);
  CHECK(fitted(world, 40).evidence > fitted(world, 1).evidence);
  for (size_t j = 0; j < kN; ++j) {
    for (size_t k = 0; k < kWidth; ++k) {
      for (const double step : {-0.02, 0.02}) {
        Hierarchy moved = model;
        moved.map[j * kWidth + k] += step;
        CHECK(log_posterior(world, moved) < log_posterior(world, model));
      }
    }
  }
  for (const double factor : {0.9, 1.1}) {
    Hierarchy moved = model;
    moved.noise *= factor;
    CHECK(log_likelihood(world, moved) < log_likelihood(world, model));
    for (const uint32_t group : {0u, 1u}) {
      moved = model;
      for (size_t j = 0; j < kN; ++j) {
        if (kGroup[j] == group) moved.variance[j] *= factor;
      }
      CHECK(log_likelihood(world, moved) < log_likelihood(world, model) + 1e-9);
    }
  }
  CHECK(model.variance[0] == model.variance[2]);
  CHECK(model.variance[0] != model.variance[3]);
}

TEST_CASE("posteriors are those of a dense solve: means always, precisions as far as columns reach") {
  const World world;
  const Hierarchy model = fitted(world, 40);
  for (const size_t rank : {0, 1, 2, 4}) {
    const Posteriors found = posteriors(world.problem, model, rank, 2, Cancel());
    for (size_t m = 0; m < kExperts; ++m) {
      const Dense dense(world, model, m);
      const Vector precision = precision_of(found, rank, m);
      for (size_t j = 0; j < kN; ++j) {
        CHECK(found.mean[m * kN + j] == doctest::Approx(dense.mean[j]).epsilon(1e-5).scale(1));
        // What the columns leave goes to the diagonal, so that is exact with any number of them.
        CHECK(precision[j * kN + j] == doctest::Approx(dense.precision[j * kN + j]).epsilon(1e-5));
        const bool exact = rank == kN || m == 0 || (m == 1 && rank >= 1);
        for (size_t k = 0; exact && k < kN; ++k)
          CHECK(precision[j * kN + k] == doctest::Approx(dense.precision[j * kN + k]).epsilon(1e-4).scale(1));
      }
    }
  }
}

TEST_CASE("what columns leave: a variance is overstated n-fold at most") {
  // The rest R = S − Σ a aᵀ is positive semidefinite, so R ⪯ n·diag(R) (Cauchy and Schwarz), and with it
  // P ⪯ n·P̂ for the precision P̂ that is kept: zᵀP̂⁻¹z ≤ n·zᵀP⁻¹z for every z.
  const World world;
  const Hierarchy model = fitted(world, 40);
  test::Random random(3);
  for (const size_t rank : {0, 1, 2}) {
    const Posteriors found = posteriors(world.problem, model, rank, 1, Cancel());
    for (size_t m = 0; m < kExperts; ++m) {
      Vector kept = precision_of(found, rank, m), whole = Dense(world, model, m).precision;
      cholesky(kept, kN);
      cholesky(whole, kN);
      for (size_t t = 0; t < 200; ++t) {
        Vector z(kN);
        for (double& each : z) each = random.normal();
        const auto variance = [&](const Vector& factor) {
          Vector solved = z;
          cholesky_solve(factor, kN, solved);
          double sum = 0;
          for (size_t j = 0; j < kN; ++j) sum += z[j] * solved[j];
          return sum;
        };
        CHECK(variance(kept) < static_cast<double>(kN) * variance(whole) * (1 + 1e-5));
      }
    }
  }
}

TEST_CASE("held-out predictions are those of a dense regression without the fold") {
  const World world;
  const Hierarchy model = fitted(world, 40);
  std::vector<uint32_t> fold(kRows);
  for (size_t i = 0; i < kRows; ++i) fold[i] = static_cast<uint32_t>(i % 4);
  const auto found = held_out_hierarchy(world.problem, fold, model, 6000, 2, Cancel(), {});
  // B and every δ at once: least squares with the penalties ρ/V (B) and 1/V (δ), in units of the noise.
  const size_t shared = kN * kWidth, all = shared + kExperts * kN;
  const auto design = [&](size_t e) {
    Vector out(all, 0.0);
    for (size_t j = 0; j < kN; ++j) {
      const double z = world.coordinate(world.row[e], j);
      for (size_t k = 0; k < kWidth; ++k)
        out[j * kWidth + k] = z * world.features[world.output[e] * kWidth + k];
      out[shared + world.output[e] * kN + j] = z;
    }
    return out;
  };
  for (uint32_t f = 0; f < 4; ++f) {
    Vector matrix(all * all, 0.0), weights(all, 0.0);
    for (size_t j = 0; j < kN; ++j) {
      for (size_t k = 0; k < kWidth; ++k) {
        const size_t at = j * kWidth + k;
        matrix[at * all + at] = model.noise * (k + 1 == kWidth ? 1e-3 : model.penalty) / model.variance[j];
      }
      for (size_t m = 0; m < kExperts; ++m) {
        const size_t at = shared + m * kN + j;
        matrix[at * all + at] = model.noise / model.variance[j];
      }
    }
    for (size_t e = 0; e < world.row.size(); ++e) {
      if (fold[world.row[e]] == f) continue;
      const Vector x = design(e);
      for (size_t a = 0; a < all; ++a) {
        weights[a] += x[a] * world.target[e];
        for (size_t b = 0; b < all; ++b) matrix[a * all + b] += x[a] * x[b];
      }
    }
    cholesky(matrix, all);
    cholesky_solve(matrix, all, weights);
    for (size_t e = 0; e < world.row.size(); ++e) {
      if (fold[world.row[e]] != f) continue;
      const Vector x = design(e);
      double expected = 0;
      for (size_t a = 0; a < all; ++a) expected += x[a] * weights[a];
      CHECK(found[e] == doctest::Approx(expected).epsilon(1e-4).scale(1));
    }
  }
}

TEST_CASE("the hierarchy: the same bits on every thread count") {
  const World world;
  const Hierarchy one = fitted(world, 20, 1), many = fitted(world, 20, 6);
  CHECK(one.noise == many.noise);
  CHECK(one.variance == many.variance);
  CHECK(one.map == many.map);
  CHECK(one.evidence == many.evidence);
  const Posteriors a = posteriors(world.problem, one, 2, 1, Cancel()),
                   b = posteriors(world.problem, one, 2, 6, Cancel());
  CHECK(a.mean == b.mean);
  CHECK(a.diagonal == b.diagonal);
  CHECK(a.columns == b.columns);
}

TEST_CASE("the hierarchy refuses what does not fit, and can be stopped") {
  const World good;
  const Hierarchy model = fitted(good, 2);
  const auto code = [](auto&& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.code();
    }
    return Code::INTERNAL;
  };
  const auto fails = [&](World world, const std::vector<uint32_t>& group = kGroup) {
    Hierarchical problem = world.problem;
    problem.x.values = world.x;
    problem.outcomes = {world.row, world.output, world.target, kExperts};
    problem.features = world.features;
    return code([&] { fit_hierarchy(problem, group, 2, 1, Cancel(), {}); });
  };
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  World bad = good;
  bad.features[1] = nan;
  CHECK(fails(bad) == Code::NOT_FINITE);
  bad = good;
  bad.features.pop_back();
  CHECK(fails(bad) == Code::WRONG_SHAPE);
  bad = good;
  bad.x[5] = nan;
  CHECK(fails(bad) == Code::NOT_FINITE);
  bad = good;
  bad.target[0] = std::numeric_limits<float>::infinity();
  CHECK(fails(bad) == Code::NOT_FINITE);
  bad = good;
  bad.row[3] = kRows;
  CHECK(fails(bad) == Code::WRONG_SHAPE);
  bad = good;
  bad.output[3] = kExperts;
  CHECK(fails(bad) == Code::WRONG_SHAPE);
  CHECK(fails(good, {0, 0, 0}) == Code::WRONG_SHAPE);
  CHECK(fails(good, {0, 0, 0, 4}) == Code::WRONG_SHAPE);

  const auto refuses = [&](auto&& change) {
    Hierarchy wrong = model;
    change(wrong);
    return code([&] { posteriors(good.problem, wrong, 1, 1, Cancel()); });
  };
  CHECK(refuses([](Hierarchy& h) { h.noise = 0; }) == Code::BAD_ARGUMENT);
  CHECK(refuses([](Hierarchy& h) { h.variance[1] = -1; }) == Code::BAD_ARGUMENT);
  CHECK(refuses([](Hierarchy& h) { h.penalty = nan; }) == Code::BAD_ARGUMENT);
  CHECK(refuses([](Hierarchy& h) { h.variance.pop_back(); }) == Code::WRONG_SHAPE);
  CHECK(refuses([](Hierarchy& h) { h.map.clear(); }) == Code::WRONG_SHAPE);
  CHECK(refuses([](Hierarchy& h) { h.map[0] = nan; }) == Code::NOT_FINITE);
  const std::vector<uint32_t> short_fold(kRows - 1);
  CHECK(code([&] { held_out_hierarchy(good.problem, short_fold, model, 2, 1, Cancel(), {}); }) ==
        Code::WRONG_SHAPE);

  Cancel cancel;
  cancel.request();
  CHECK(code([&] { fit_hierarchy(good.problem, kGroup, 2, 1, cancel, {}); }) == Code::ABORTED);
  CHECK(code([&] { posteriors(good.problem, model, 1, 1, cancel); }) == Code::ABORTED);
}

TEST_CASE("a hierarchy of no outcomes is the prior") {
  const World world;
  Hierarchical problem = world.problem;
  problem.outcomes = {{}, {}, {}, kExperts};
  const Hierarchy model = fit_hierarchy(problem, kGroup, 3, 1, Cancel(), {});
  const Posteriors found = posteriors(problem, model, 1, 1, Cancel());
  CHECK(std::set(found.mean.begin(), found.mean.end()) == std::set{0.0f});
  CHECK(std::set(found.diagonal.begin(), found.diagonal.end()) == std::set{1.0f});
}
