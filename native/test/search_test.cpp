// Exactness: every result against the float64 oracle, bit for bit, on each instruction set that this machine
// has.
#include <doctest/doctest.h>

#include "pointsman/bound.hpp"
#include "pointsman/isa.hpp"
#include "support.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

struct Case {
  Kind kind;
  uint32_t rows, dimensions, k, queries;
  unsigned threads;
};

void check_case(const Case& c) {
  const uint32_t rows = at_most_rows(c.rows);
  const auto data = make_rows(c.kind, rows, c.dimensions, 7 + c.dimensions);
  auto queries = make_rows(c.kind == Kind::kTiny || c.kind == Kind::kHuge ? Kind::kRandom : c.kind, c.queries,
                           c.dimensions, 1000 + c.dimensions);
  if (c.queries > 1) std::fill_n(queries.begin() + c.dimensions, c.dimensions, 0.0f);  // a zero query
  Index index(c.dimensions, c.threads, "cpu");
  const auto ids = make_ids(0, rows);
  if (rows > 0) add(index, ids, data);
  const auto result = index.search(queries, c.k, nullptr, 0, Cancel());
  CHECK(result.counts.size() == c.queries);
  // All queries of small cases, a sample of large ones: the oracle is what takes the time.
  const uint32_t step = std::max<uint32_t>(1, static_cast<uint32_t>(uint64_t{rows} * c.queries / 400000));
  for (uint32_t q = 0; q < c.queries; q += step) {
    const auto expected = oracle(data, rows, c.dimensions, queries.data() + size_t{q} * c.dimensions, c.k,
                                 [](uint32_t) { return true; });
    CHECK(difference(result, c.k, q, expected) == "");
  }
}

const Case kCases[] = {
    // kind, rows, dimensions, k, queries, threads: pairs of values, not the full grid
    {Kind::kRandom, 0, 8, 10, 3, 2},
    {Kind::kRandom, 1, 1, 1, 1, 1},
    {Kind::kRandom, 9, 3, 10, 5, 2},
    {Kind::kRandom, 1000, 31, 10, 17, 2},
    {Kind::kRandom, 2000, 32, 100, 49, 1},
    {Kind::kRandom, 100000, 96, 10, 3, 2},
    {Kind::kRandom, 20000, 128, 1000, 100, 2},
    {Kind::kRandom, 3000, 200, 7, 200, 2},
    {Kind::kRandom, 700, 768, 1, 33, 2},
    {Kind::kRandom, 600, 1024, 300, 4, 1},
    {Kind::kClustered, 5000, 128, 10, 50, 2},
    {Kind::kClustered, 2000, 1, 1000, 2, 2},
    {Kind::kClustered, 40000, 32, 10, 1, 2},
    {Kind::kTies, 3000, 31, 100, 20, 2},
    {Kind::kTies, 100000, 8, 1000, 2, 2},
    {Kind::kTies, 500, 200, 10, 64, 1},
    {Kind::kZeros, 4000, 96, 1000, 5, 2},
    {Kind::kZeros, 1000, 3, 10, 1, 1},
    {Kind::kTiny, 2000, 128, 10, 20, 2},
    {Kind::kTiny, 300, 1, 200, 3, 1},
    {Kind::kHuge, 2000, 128, 10, 20, 2},
    {Kind::kHuge, 300, 31, 20, 3, 1},
    {Kind::kMixedNorms, 5000, 96, 10, 40, 2},
    {Kind::kMixedNorms, 5000, 200, 100, 1, 2},
    {Kind::kRandom, 4095, 16, 4096, 6, 2},
    // Enough rows of low rank for a prefix to be learned.
    {Kind::kClustered, 40000, 96, 10, 30, 2},
    {Kind::kTies, 40000, 50, 100, 3, 2},
};

}  // namespace

TEST_CASE("results are the oracle's, bit for bit, on every instruction set") {
  on_each_isa([](const Kernels&) {
    for (const Case& c : kCases) {
      CAPTURE(c.rows);
      CAPTURE(c.dimensions);
      CAPTURE(c.k);
      CAPTURE(static_cast<int>(c.kind));
      check_case(c);
    }
  });
}

TEST_CASE("one answer for every batch size and thread count") {
  const uint32_t rows = at_most_rows(6000), dimensions = 45, count = 130, k = 12;
  const auto data = make_rows(Kind::kTies, rows, dimensions, 3);
  const auto queries = make_rows(Kind::kRandom, count, dimensions, 4);
  Index index(dimensions, 0, "auto");
  add(index, make_ids(0, rows), data);
  const auto whole = index.search(queries, k, nullptr, 1, Cancel());
  for (const unsigned threads : {1u, 2u, 5u}) {
    for (const uint32_t batch : {1u, 3u, 16u, 47u, 130u}) {
      for (uint32_t first = 0; first < count; first += batch) {
        const uint32_t take = std::min(batch, count - first);
        const std::span<const float> part(queries.data() + size_t{first} * dimensions,
                                          size_t{take} * dimensions);
        const auto result = index.search(part, k, nullptr, threads, Cancel());
        CHECK(std::equal(result.handles.begin(), result.handles.end(), whole.handles.begin() + first * k));
        CHECK(std::equal(result.scores.begin(), result.scores.end(), whole.scores.begin() + first * k));
      }
    }
  }
}

TEST_CASE("filters: the same as an oracle that leaves the others out") {
  const uint32_t rows = at_most_rows(5000), dimensions = 24;
  const auto data = make_rows(Kind::kRandom, rows, dimensions, 11);
  const auto ids = make_ids(0, rows);
  Index index(dimensions, 2, "cpu");
  add(index, ids, data);
  for (const uint32_t every : {1u, 2u, 100u, 4999u}) {
    std::vector<std::string> some;
    for (uint32_t i = 0; i < rows; i += every) some.push_back(ids[i]);
    some.push_back("nobody");
    for (const bool complement : {false, true}) {
      const Filter filter = index.filter(views(some), complement);
      const auto eligible = [&](uint32_t i) { return (i % every == 0) != complement; };
      for (const uint32_t count : {1u, 20u}) {
        const auto queries = make_rows(Kind::kRandom, count, dimensions, 12);
        const auto result = index.search(queries, 10, &filter, 0, Cancel());
        for (uint32_t q = 0; q < count; ++q) {
          CHECK(difference(result, 10, q,
                           oracle(data, rows, dimensions, queries.data() + q * dimensions, 10, eligible)) ==
                "");
        }
      }
    }
  }
  // A filter of an empty index stays empty when experts come.
  Index late(dimensions, 1, "cpu");
  const Filter nobody = late.filter({}, true);
  add(late, {"x"}, std::vector<float>(dimensions, 1.0f));
  CHECK(late.search(std::vector<float>(dimensions, 1.0f), 1, &nobody, 0, Cancel()).counts[0] == 0);
  Index other(dimensions, 1, "cpu");
  const Filter foreign = other.filter({}, false);
  CHECK_THROWS_AS(index.search(std::vector<float>(dimensions), 1, &foreign, 0, Cancel()), Error);
}

TEST_CASE("ties go to lower handles wherever their rows lie") {
  // The lowest handles are rewritten last, so their rows come after those of all others.
  const uint32_t rows = at_most_rows(2000), dimensions = 16, k = 20;
  const auto data = make_rows(Kind::kTies, rows, dimensions, 17);
  Index index(dimensions, 1, "cpu");
  add(index, make_ids(0, rows), data);
  for (int first = 90; first >= 0; first -= 10) {
    add(index, make_ids(static_cast<uint32_t>(first), 10),
        {data.begin() + first * dimensions, data.begin() + (first + 10) * dimensions});
  }
  auto queries = make_rows(Kind::kTies, 6, dimensions, 17);
  std::fill_n(queries.begin(), dimensions, 0.0f);
  for (const uint32_t count : {1u, 2u, 6u}) {
    const std::span<const float> part(queries.data(), size_t{count} * dimensions);
    const auto result = index.search(part, k, nullptr, 0, Cancel());
    for (uint32_t q = 0; q < count; ++q) {
      const auto expected =
          oracle(data, rows, dimensions, queries.data() + q * dimensions, k, [](uint32_t) { return true; });
      CHECK(difference(result, k, q, expected) == "");
    }
  }
}

TEST_CASE("the threshold never excludes a score that rounds to tau") {
  Random random(5);
  for (int i = 0; i < 20000; ++i) {
    const float tau = random.normal() * static_cast<float>(std::exp(20 * random.normal()));
    const double nq = std::exp(10 * random.normal()), nx = std::exp(10 * random.normal());
    const float t = scan_threshold(tau, nq, nx, 128);
    CHECK(static_cast<double>(t) <= static_cast<double>(tau) - nq * nx * score_error(128));
  }
  CHECK(scan_threshold(0.5f, 0, 3, 8) == 0.5f);
  CHECK(scan_threshold(-INFINITY, 1, 1, 8) == -INFINITY);
}

TEST_CASE("wrong arguments are refused with their code") {
  Index index(4, 1, "cpu");
  const auto code_of = [](const auto& body) {
    try {
      body();
    } catch (const Error& error) {
      return std::string(code_name(error.code()));
    }
    return std::string("none");
  };
  const Cancel cancel;
  const std::vector<float> one(4, 1.0f);
  CHECK(code_of([&] { index.search(one, 0, nullptr, 0, cancel); }) == "BAD_K");
  CHECK(code_of([&] { index.search(one, 4097, nullptr, 0, cancel); }) == "BAD_K");
  CHECK(code_of([&] { index.search(std::vector<float>(5), 1, nullptr, 0, cancel); }) == "WRONG_SHAPE");
  CHECK(code_of([&] { index.search(std::vector<float>(4, NAN), 1, nullptr, 0, cancel); }) == "NOT_FINITE");
  CHECK(code_of([&] { index.search(std::vector<float>(4, -INFINITY), 1, nullptr, 0, cancel); }) ==
        "NOT_FINITE");
  CHECK(code_of([&] { index.search(std::vector<float>(4, 3e38f), 1, nullptr, 0, cancel); }) ==
        "NORM_TOO_LARGE");
  CHECK(code_of([] { Index bad(0, 1, "cpu"); }) == "BAD_DIMENSIONS");
  CHECK(code_of([] { Index bad(4097, 1, "cpu"); }) == "BAD_DIMENSIONS");
  CHECK(code_of([] { Index bad(4, 1, "cuda"); }) == "BACKEND_UNAVAILABLE");
  CHECK(code_of([] {
          const ForcedIsa forced("mmx");
          Index bad(4, 1, "cpu");
        }) == "UNKNOWN_ISA");
  Cancel stopped;
  stopped.request();
  add(index, {"a"}, one);
  CHECK(code_of([&] { index.search(one, 1, nullptr, 0, stopped); }) == "ABORTED");
}

TEST_CASE("a threshold that is guessed too high is noticed") {
  // For 256 results every eighth page is sampled, from the fifth on: pages of 1024 rows with codes, of 256
  // without. Only there are rows with a positive first component, 60 of either kind, so for queries that
  // weigh it the sample promises more than there is.
  constexpr uint32_t kDimensions = 16, kResults = 256;
  const uint32_t count = at_most_rows(80000);
  Random random(3);
  std::vector<float> rows(size_t{count} * kDimensions);
  uint32_t coded = 0, plain = 0;
  for (uint32_t i = 0; i < count; ++i) {
    // All of one norm, so that they stay in order.
    for (uint32_t j = 0; j < kDimensions; ++j)
      rows[size_t{i} * kDimensions + j] = random.uniform() < 0.5 ? -1.0f : 1.0f;
    const bool first = (i / 1024 % 8 == 4 && coded++ < 60) || (i / 256 % 8 == 4 && plain++ < 60);
    rows[size_t{i} * kDimensions] = first ? 1.0f : -1.0f;
  }
  std::vector<float> queries;
  for (const float weight : {100.0f, 100.0f, 0.0f, 100.0f, 0.0f}) {
    queries.push_back(weight);
    for (uint32_t j = 1; j < kDimensions; ++j) queries.push_back(random.normal());
  }
  on_each_isa([&](const Kernels&) {
    for (const unsigned threads : {1u, 2u}) {
      Index index(kDimensions, threads, "cpu");
      add(index, make_ids(0, count), rows);
      const auto result = index.search(queries, kResults, nullptr, 0, Cancel());
      for (uint32_t q = 0; q < 5; ++q) {
        const auto expected = oracle(rows, count, kDimensions, queries.data() + q * kDimensions, kResults,
                                     [](uint32_t) { return true; });
        CHECK(difference(result, kResults, q, expected) == "");
      }
    }
  });
}
