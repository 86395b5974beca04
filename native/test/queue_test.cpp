// Searches that wait for the engine, and the choice of codings by measurement.
#include <doctest/doctest.h>

#include <condition_variable>
#include <thread>

#include "core/search_queue.hpp"
#include "core/tuning.hpp"
#include "pointsman/backend.hpp"
#include "support.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

constexpr uint32_t kDimensions = 24;

// Collects what comes back of `expected` searches.
class Answers {
 public:
  explicit Answers(size_t expected) : results(expected), codes(expected), left_(expected) {}

  QueuedSearch ask(size_t number, std::vector<float> queries, uint32_t k,
                   std::shared_ptr<const Filter> filter = nullptr,
                   std::shared_ptr<const Cancel> cancel = std::make_shared<Cancel>()) {
    return {std::move(queries), k, std::move(filter), std::move(cancel),
            [this, number](SearchResult&& result, std::exception_ptr error) {
              std::lock_guard lock(mutex_);
              results[number] = std::move(result);
              try {
                if (error) std::rethrow_exception(error);
              } catch (const Error& caught) {
                codes[number] = code_name(caught.code());
              }
              if (--left_ == 0) done_.notify_all();
            }};
  }
  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
  }

  std::vector<SearchResult> results;
  std::vector<std::string> codes;  // of errors

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  size_t left_;
};

std::shared_ptr<Index> filled(uint32_t count) {
  auto index = std::make_shared<Index>(kDimensions, 2, "cpu");
  add(*index, make_ids(0, count), make_rows(Kind::kRandom, count, kDimensions, 3));
  return index;
}

}  // namespace

TEST_CASE("queued searches are merged, and answered as if each were alone") {
  const uint32_t count = at_most_rows(20000);
  const auto index = filled(count);
  const auto queue = std::make_shared<SearchQueue>(index);
  const auto half = std::make_shared<const Filter>(index->filter(views(make_ids(0, count / 2)), false));
  constexpr size_t kSearches = 240;
  const auto queries = make_rows(Kind::kRandom, kSearches * 2, kDimensions, 5);
  const auto own = [&](size_t i) {  // one query or two
    const auto from = queries.begin() + static_cast<ptrdiff_t>(i * 2 * kDimensions);
    return std::vector<float>(from, from + static_cast<ptrdiff_t>((1 + i % 2) * kDimensions));
  };
  const auto k_of = [](size_t i) { return i % 3 == 0 ? 5u : 9u; };
  const auto filter_of = [&](size_t i) { return i % 5 == 0 ? half : nullptr; };

  const uint64_t before = index->stats().searches;
  Answers answers(kSearches);
  std::vector<std::thread> callers;
  for (size_t c = 0; c < 3; ++c) {
    callers.emplace_back([&, c] {
      for (size_t i = c; i < kSearches; i += 3) queue->submit(answers.ask(i, own(i), k_of(i), filter_of(i)));
    });
  }
  for (auto& caller : callers) caller.join();
  answers.wait();
  CHECK(index->stats().searches - before < kSearches);

  int wrong = 0;
  for (size_t i = 0; i < kSearches; ++i) {
    const SearchResult alone = index->search(own(i), k_of(i), filter_of(i).get(), 1, Cancel());
    const SearchResult& merged = answers.results[i];
    wrong += !answers.codes[i].empty() || merged.counts != alone.counts || merged.scores != alone.scores ||
             merged.handles != alone.handles;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a queued search that is wrong or given up does not touch the others") {
  const auto index = filled(at_most_rows(5000));
  const auto queue = std::make_shared<SearchQueue>(index);
  const auto good = make_rows(Kind::kRandom, 1, kDimensions, 6);
  auto bad = good;
  bad[3] = NAN;
  const auto stopped = std::make_shared<Cancel>();
  stopped->request();
  Answers answers(40);
  for (size_t i = 0; i < 40; ++i) {
    queue->submit(
        answers.ask(i, i == 17 ? bad : good, 4, nullptr, i == 23 ? stopped : std::make_shared<Cancel>()));
  }
  answers.wait();
  for (size_t i = 0; i < 40; ++i) {
    CAPTURE(i);
    CHECK(answers.codes[i] == (i == 17 ? "NOT_FINITE" : i == 23 ? "ABORTED" : ""));
  }
}

TEST_CASE("the coding that took least is used, and others are tried now and then") {
  constexpr uint32_t kBytesOnly = 1u << POINTSMAN_BYTES, kNibbles = kBytesOnly | 1u << POINTSMAN_NIBBLES;
  for (const uint32_t fast : {kBytesOnly, kNibbles}) {
    CAPTURE(fast);
    Tuning tuning;
    CHECK(tuning.expected_seconds(1, false) == INFINITY);
    int used = 0, others = 0;
    for (int i = 0; i < 200; ++i) {
      const auto choice = tuning.choose(1, 10, false, 1, false);
      CHECK((choice.codings & 1u << POINTSMAN_PREFIX) == 0);  // there is none
      tuning.report(choice, choice.codings == fast ? 1e-6 : 2e-6);
      (choice.codings == fast ? used : others) += 1;
    }
    CHECK(used > 180);
    CHECK(others > 2);
    CHECK(tuning.expected_seconds(1, false) == doctest::Approx(1e-6));
    CHECK(tuning.expected_seconds(1, true) == INFINITY);
    // Another batch size is another matter.
    CHECK(tuning.expected_seconds(64, false) == INFINITY);
  }
  Tuning tuning;
  const auto choice = tuning.choose(8, 10, false, 2, true);
  CHECK((choice.codings & 1u << POINTSMAN_PREFIX) != 0);
  tuning.report(choice, 1);
  CHECK(tuning.describe() == "batch 8: prefix");
}

TEST_CASE("a coding whose first tries met with something else is not given up") {
  Tuning tuning;
  int used = 0;
  for (int i = 0, tries = 0; i < 200; ++i) {
    const auto choice = tuning.choose(1, 10, false, 1, false);
    const bool nibbles = (choice.codings & 1u << POINTSMAN_NIBBLES) != 0;
    tuning.report(choice, !nibbles ? 2e-6 : tries++ < 3 ? 1e-3 : 1e-6);
    used += nibbles;
  }
  CHECK(used > 100);
  CHECK(tuning.describe().empty());  // of searches with threads
}
