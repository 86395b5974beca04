// What a selection keeps when others' thresholds drop candidates that its own bounds took for the best.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "cpu/selection.hpp"
#include "pointsman/isa.hpp"
#include "support.hpp"

using namespace pointsman;
using namespace pointsman::test;

TEST_CASE("a threshold from elsewhere never costs a selection its best") {
  // Row i scores i: of 40 rows, the last ones are the best.
  constexpr uint32_t kRows = 40, kStride = 16, kResults = 8;
  std::vector<float> rows(size_t{kRows} * kStride), query(kStride);
  std::vector<uint32_t> handles(kRows);
  query[0] = 1;
  for (uint32_t i = 0; i < kRows; ++i) {
    rows[size_t{i} * kStride] = static_cast<float>(i);
    handles[i] = i;
  }
  pointsman_block block{};
  block.rows = rows.data();
  block.handles = handles.data();
  pointsman_request request{};
  request.stride = kStride;
  request.queries = query.data();
  request.blocks = &block;
  const Scorer scorer(request, active_kernels(), 0);
  const auto candidate = [](uint32_t row, float below, float above) {
    const auto score = static_cast<float>(row);
    return Candidate{score - below, score + above, 0, row, Candidate::kUnscored};
  };
  Selection selection;
  selection.reset(kResults);
  // Close bounds of middling rows hold the places of the best; wide ones of the best rows don't.
  for (uint32_t row = 12; row < 20; ++row) selection.add(candidate(row, 0.25f, 0.25f), scorer);
  for (uint32_t row = 28; row < kRows; ++row) {
    selection.add(candidate(row, row == 38 ? 0.25f : 30.0f, 0.5f), scorer);
  }
  const auto& best = selection.finish(25, scorer);
  REQUIRE(best.size() == kResults);
  for (uint32_t i = 0; i < kResults; ++i) {
    CHECK(best[i].row == kRows - 1 - i);
    CHECK(best[i].lower == static_cast<float>(kRows - 1 - i));
  }
}

TEST_CASE("a selection's threshold is the k-th best lower bound of all that it has seen") {
  Random random(5);
  for (const uint32_t k : {1u, 2u, 7u, 64u}) {
    Selection selection;
    selection.reset(k);
    pointsman_request request{};
    const Scorer scorer(request, active_kernels(), 0);
    std::vector<float> seen;
    int wrong = 0;
    for (uint32_t i = 0; i < 5 * k; ++i) {
      // Rising, so that nothing has to be scored.
      const auto lower = static_cast<float>(i + random.uniform());
      const float before = selection.threshold();
      const bool risen = selection.add({lower, lower + 0.5f, 0, i, Candidate::kUnscored}, scorer);
      seen.push_back(lower);
      std::sort(seen.begin(), seen.end(), std::greater<>());
      const float expected = seen.size() < k ? -INFINITY : seen[k - 1];
      wrong += selection.threshold() != expected || risen != (expected > before);
    }
    CHECK(wrong == 0);
  }
}
