// The CUDA backend against the CPU's: the same ids and the same bits, whatever the rows, the batch and the
// memory. Runs on a device, and on the emulation of one.
#include <doctest/doctest.h>

#include <thread>

#include "../support.hpp"
#include "block_set.hpp"
#include "cuda/engine.hpp"
#include "cuda/kernels.hpp"
#include "cuda/self_check.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

// Empty, or how the results differ.
std::string compare(const Results& got, const Results& wanted, uint32_t k) {
  if (got == wanted) return "";
  for (uint32_t q = 0; q < wanted.counts.size(); ++q) {
    if (got.counts[q] != wanted.counts[q]) {
      return "query " + std::to_string(q) + ": " + std::to_string(got.counts[q]) + " results for " +
             std::to_string(wanted.counts[q]);
    }
    for (uint32_t i = 0; i < k; ++i) {
      const size_t at = size_t{q} * k + i;
      if (got.handles[at] == wanted.handles[at] && got.scores[at] == wanted.scores[at]) continue;
      return "query " + std::to_string(q) + " rank " + std::to_string(i) + ": handle " +
             std::to_string(got.handles[at]) + " score " + std::to_string(got.scores[at]) + " for " +
             std::to_string(wanted.handles[at]) + " and " + std::to_string(wanted.scores[at]);
    }
  }
  return "signs of zeros differ";
}

// Searches and compares with the CPU.
std::string search(cuda::Engine& engine, const BlockSet& set, const std::vector<float>& vectors, uint32_t k,
                   const std::vector<uint64_t>* filter = nullptr, const char* kernel = nullptr,
                   cuda::Report* report = nullptr) {
  const Queries queries(vectors, set.dimensions());
  const auto blocks = set.view();
  Request request(blocks, set.dimensions(), queries, k, filter);
  const cuda::Report did = engine.search(request, kernel);
  if (report != nullptr) *report = did;
  return compare(request.found, on_cpu(blocks, set.dimensions(), queries, k, filter), k);
}

std::vector<float> with_zero_query(std::vector<float> queries, uint32_t dimensions) {
  if (queries.size() > dimensions) std::fill_n(queries.begin() + dimensions, dimensions, 0.0f);
  return queries;
}

struct Case {
  Kind kind;
  uint32_t rows, dimensions, k, queries, capacity;
};

const Case kCases[] = {
    {Kind::kRandom, 1, 1, 1, 1, 256},
    {Kind::kRandom, 9, 3, 10, 5, 256},
    {Kind::kRandom, 1023, 31, 10, 17, 1024},
    {Kind::kRandom, 1024, 32, 100, 9, 1024},
    {Kind::kRandom, 1025, 33, 1, 2, 2048},
    {Kind::kRandom, 9000, 128, 10, 3, 4096},
    {Kind::kRandom, 5000, 100, 300, 70, 2048},
    {Kind::kRandom, 4500, 16, 4096, 3, 4096},
    {Kind::kRandom, 2100, 768, 10, 33, 4096},
    {Kind::kRandom, 1100, 1536, 7, 4, 2048},
    {Kind::kRandom, 1100, 4096, 5, 20, 2048},
    {Kind::kClustered, 6000, 65, 10, 20, 16384},
    {Kind::kClustered, 3000, 1, 1000, 2, 4096},
    {Kind::kTies, 6000, 31, 100, 12, 2048},
    {Kind::kTies, 3000, 8, 1000, 2, 4096},
    {Kind::kZeros, 4000, 30, 1000, 5, 4096},
    {Kind::kTiny, 2100, 128, 10, 20, 4096},
    {Kind::kTiny, 1300, 1, 200, 3, 2048},
    {Kind::kHuge, 2100, 128, 10, 20, 4096},
    {Kind::kMixedNorms, 5000, 96, 10, 40, 4096},
    {Kind::kMixedNorms, 3000, 200, 100, 1, 1024},
};

}  // namespace

TEST_CASE("cuda: the CPU's ids and bits") {
  cuda::Engine engine;
  MESSAGE("device: " << engine.device().description());
  for (const Case& c : kCases) {
    CAPTURE(c.rows);
    CAPTURE(c.dimensions);
    CAPTURE(c.k);
    CAPTURE(static_cast<int>(c.kind));
    BlockSet set(c.dimensions);
    set.add(make_rows(c.kind, c.rows, c.dimensions, 7 + c.dimensions), c.capacity);
    const Kind kind = c.kind == Kind::kTiny || c.kind == Kind::kHuge ? Kind::kRandom : c.kind;
    const auto queries =
        with_zero_query(make_rows(kind, c.queries, c.dimensions, 99 + c.dimensions), c.dimensions);
    CHECK(search(engine, set, queries, c.k) == "");
  }
}

TEST_CASE("cuda: a score is the definition's") {
  // Not by way of the CPU backend: products and sums that round, cancel and vanish.
  const uint32_t dimensions = 37, rows = 1500;
  auto data = make_rows(Kind::kMixedNorms, rows, dimensions, 3);
  for (uint32_t i = 0; i < dimensions; ++i) data[i] = -data[dimensions + i];
  BlockSet set(dimensions);
  set.add(data);
  const auto vectors = make_rows(Kind::kMixedNorms, 4, dimensions, 4);
  const Queries queries(vectors, dimensions);
  const auto blocks = set.view();
  Request request(blocks, dimensions, queries, 50);
  cuda::Engine engine;
  engine.search(request);
  for (uint32_t q = 0; q < 4; ++q) {
    const auto expected =
        oracle(data, rows, dimensions, &vectors[q * dimensions], 50, [](uint32_t) { return true; });
    for (uint32_t i = 0; i < 50; ++i) {
      CHECK(request.found.handles[q * 50 + i] == expected[i].handle);
      CHECK(request.found.scores[q * 50 + i] == expected[i].score);
    }
  }
}

TEST_CASE("cuda: every kernel answers every batch size alike") {
  const uint32_t dimensions = 70;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kRandom, 3500, dimensions, 1), 2048);
  cuda::Engine engine;
  for (uint32_t i = 0; i < cuda::kScanKernelCount; ++i) {
    const char* kernel = cuda::kScanKernels[i].name;
    CAPTURE(kernel);
    for (const uint32_t count : {1u, 7u, 8u, 33u, 131u}) {
      CAPTURE(count);
      if (count > 8 * cuda::kScanKernels[i].queries) continue;
      CHECK(search(engine, set, make_rows(Kind::kRandom, count, dimensions, 2), 10, nullptr, kernel) == "");
    }
  }
}

TEST_CASE("cuda: equal rows are ordered and none is lost") {
  const uint32_t dimensions = 24;
  std::vector<float> rows(size_t{6000} * dimensions);
  const auto one = make_rows(Kind::kRandom, 2, dimensions, 5);
  for (uint32_t r = 0; r < 6000; ++r) {  // 3,000 of one row, 3,000 of another, in turn
    std::copy_n(one.begin() + r % 2 * dimensions, dimensions, rows.begin() + r * dimensions);
  }
  BlockSet set(dimensions);
  set.add(rows, 4096);
  auto queries = with_zero_query(one, dimensions);
  for (const uint32_t candidates : {0u, 1u}) {
    cuda::Engine engine({.candidates = candidates});
    for (const uint32_t k : {1u, 10u, 2000u, 4000u}) {
      CAPTURE(k);
      cuda::Report report;
      CHECK(search(engine, set, queries, k, nullptr, nullptr, &report) == "");
      if (candidates == 1 && k < 4000) CHECK(report.redone > 0);
    }
  }
}

TEST_CASE("cuda: lower handles win wherever they lie") {
  const uint32_t dimensions = 16;
  BlockSet set(dimensions);
  const auto rows = make_rows(Kind::kTies, 2500, dimensions, 17);
  set.handles_from(5000);
  set.add(rows);
  set.handles_from(0);
  set.add({rows.begin(), rows.begin() + 1500 * dimensions}, 2048);
  cuda::Engine engine;
  CHECK(search(engine, set, with_zero_query(make_rows(Kind::kTies, 6, dimensions, 17), dimensions), 20) ==
        "");
}

TEST_CASE("cuda: buffers that overflow lose nothing") {
  const uint32_t dimensions = 20;
  // Each row is better than all before it: no sample gives a threshold that excludes many.
  std::vector<float> rows(size_t{12288} * dimensions);
  for (uint32_t r = 0; r < 12288; ++r) {
    for (uint32_t i = 0; i < dimensions; ++i)
      rows[r * dimensions + i] = static_cast<float>(r + 1) * (i % 3 == 0 ? 1 : -0.5f);
  }
  BlockSet set(dimensions);
  set.add(rows, 4096);
  std::vector<float> queries(rows.end() - dimensions, rows.end());
  queries.resize(12 * dimensions, 0.25f);
  cuda::Engine engine({.candidates = 1});
  cuda::Report report;
  for (const uint32_t k : {1u, 30u, 700u}) {
    CHECK(search(engine, set, queries, k, nullptr, nullptr, &report) == "");
    CHECK(report.redone > 0);
  }
}

TEST_CASE("cuda: what was kept before an overflow is not found twice") {
  // The first unit holds the best row and else nothing that matters: most later rows are candidates. With the
  // threshold that these give, a second scan of all fits.
  const uint32_t dimensions = 20;
  auto rows = make_rows(Kind::kRandom, 5120, dimensions, 91);
  const auto queries = make_rows(Kind::kRandom, 1, dimensions, 92);
  for (uint32_t i = 0; i < 1024 * dimensions; ++i) rows[i] *= 1e-3f;
  for (uint32_t i = 0; i < dimensions; ++i) rows[5 * dimensions + i] = 10 * queries[i];
  BlockSet set(dimensions);
  set.add(rows, 5120);
  cuda::Engine engine({.candidates = 1});
  cuda::Report report;
  CHECK(search(engine, set, queries, 10, nullptr, nullptr, &report) == "");
  CHECK(report.redone == 1);
}

TEST_CASE("cuda: filters and dead rows") {
  const uint32_t dimensions = 40, rows = 5000;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kRandom, rows, dimensions, 11), 2048);
  const auto queries = make_rows(Kind::kRandom, 9, dimensions, 12);
  cuda::Engine engine;
  const auto check_all = [&] {
    for (const uint32_t every : {1u, 2u, 7u, 100u, 4999u, 6000u}) {
      CAPTURE(every);
      std::vector<uint64_t> filter(rows / 64 + 1);
      for (uint32_t h = 3; h < rows; h += every) filter[h / 64] |= uint64_t{1} << (h % 64);
      CHECK(search(engine, set, queries, 10, &filter) == "");
      filter.resize(20);  // higher handles are not eligible
      CHECK(search(engine, set, queries, 10, &filter) == "");
    }
    // All that is eligible lies at the end.
    std::vector<uint64_t> last(rows / 64 + 1);
    for (size_t i = last.size() - 10; i < last.size(); ++i) last[i] = ~uint64_t{0};
    CHECK(search(engine, set, queries, 100, &last) == "");
    const std::vector<uint64_t> none(1);
    CHECK(search(engine, set, queries, 10, &none) == "");
    CHECK(search(engine, set, queries, 10) == "");
  };
  check_all();
  for (uint32_t row = 0; row < 2048; row += 3) set.kill(1, row);
  for (uint32_t row = 0; row < 900; ++row) set.kill(2, row);
  check_all();
}

TEST_CASE("cuda: blocks grow and die while older versions are searched") {
  for (const size_t memory : {size_t{0}, size_t{3} << 19}) {
    const uint32_t dimensions = 64;
    const auto rows = make_rows(Kind::kRandom, 4000, dimensions, 21);
    const auto queries = make_rows(Kind::kRandom, 5, dimensions, 22);
    cuda::Engine engine({.memory = memory});
    BlockSet set(dimensions);
    set.open(4096);
    std::vector<BlockSet> versions;
    uint32_t filled = 0;
    cuda::Report report;
    for (const uint32_t upto : {300u, 1024u, 1500u, 1600u, 3100u, 4000u}) {
      set.append(&rows[size_t{filled} * dimensions], upto - filled);
      filled = upto;
      if (upto > 1500) {
        for (uint32_t row = upto - 200; row < upto; row += 2) set.kill(0, row);
      }
      versions.push_back(set);
      CHECK(search(engine, set, queries, 10, nullptr, nullptr, &report) == "");
      CHECK(report.rows_on_device == (memory == 0));
    }
    for (size_t i = versions.size(); i-- > 0;) CHECK(search(engine, versions[i], queries, 10) == "");
    for (const BlockSet& version : versions) CHECK(search(engine, version, queries, 10) == "");
  }
}

TEST_CASE("cuda: rows stay on the host where the budget holds only the codes") {
  for (const Kind kind : {Kind::kRandom, Kind::kTies, Kind::kZeros}) {
    const uint32_t dimensions = 96;
    BlockSet set(dimensions);
    set.add(make_rows(kind, 5500, dimensions, 31), 4096);
    const auto queries = with_zero_query(make_rows(kind, 40, dimensions, 32), dimensions);
    for (const uint32_t candidates : {0u, 1u}) {
      cuda::Engine engine({.memory = size_t{2} << 20, .candidates = candidates});
      for (const uint32_t k : {1u, 10u, 500u}) {
        cuda::Report report;
        CHECK(search(engine, set, queries, k, nullptr, nullptr, &report) == "");
        CHECK_FALSE(report.rows_on_device);
        if (candidates == 1 && kind != Kind::kRandom) CHECK(report.redone > 0);
      }
      CHECK(engine.device().used() <= engine.device().budget());
    }
  }
}

TEST_CASE("cuda: several indexes share the budget, the least recently used gives way") {
  const uint32_t dimensions = 64;
  cuda::Engine engine({.memory = size_t{5} << 20});
  std::vector<BlockSet> sets;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    sets.emplace_back(dimensions);
    sets.back().add(make_rows(Kind::kRandom, 5000, dimensions, seed), 4096);
  }
  const auto queries = make_rows(Kind::kRandom, 3, dimensions, 42);
  for (int round = 0; round < 3; ++round) {
    for (const BlockSet& set : sets) CHECK(search(engine, set, queries, 10) == "");
  }
  CHECK(engine.residency().blocks() < 8);
  CHECK(engine.device().used() <= engine.device().budget());
  for (const BlockSet& set : sets) {
    for (uint32_t b = 0; b < 2; ++b) engine.forget(set.id(b));
  }
  CHECK(engine.residency().blocks() == 0);
  CHECK(search(engine, sets[2], queries, 10) == "");
}

TEST_CASE("cuda: an index whose codes do not fit is refused") {
  const uint32_t dimensions = 512;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kRandom, 3000, dimensions, 51));
  cuda::Engine engine({.memory = size_t{1} << 20});
  Code code = Code::INTERNAL;
  try {
    search(engine, set, make_rows(Kind::kRandom, 1, dimensions, 52), 10);
  } catch (const Error& error) {
    code = error.code();
  }
  CHECK(code == Code::OUT_OF_MEMORY);
}

TEST_CASE("cuda: searches run at once") {
  const uint32_t dimensions = 32;
  BlockSet first(dimensions), second(dimensions);
  first.add(make_rows(Kind::kRandom, 3000, dimensions, 61), 2048);
  second.add(make_rows(Kind::kTies, 2500, dimensions, 62), 2048);
  cuda::Engine engine;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 5; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 3; ++i) {
        const auto queries =
            make_rows(Kind::kRandom, 1 + static_cast<uint32_t>(t) * 3, dimensions, 63 + t + i);
        if (search(engine, t % 2 == 0 ? first : second, queries, 10) != "") ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("cuda: a search can be cancelled") {
  const uint32_t dimensions = 16;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kRandom, 2000, dimensions, 71));
  const Queries queries(make_rows(Kind::kRandom, 2, dimensions, 72), dimensions);
  const auto blocks = set.view();
  cuda::Engine engine;
  for (int after = 0; after < 3; ++after) {
    Request request(blocks, dimensions, queries, 5);
    int left = after;
    request.context = &left;
    request.cancelled = [](const void* context) -> int {
      return (*static_cast<int*>(const_cast<void*>(context)))-- <= 0;
    };
    Code code = Code::INTERNAL;
    try {
      engine.search(request);
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK((code == Code::ABORTED || after == 2));
  }
  CHECK(search(engine, set, make_rows(Kind::kRandom, 2, dimensions, 72), 5) == "");
}

TEST_CASE("cuda: the self-check passes, in whatever memory") {
  for (const size_t memory : {size_t{0}, size_t{1} << 20}) {
    cuda::Engine engine({.memory = memory});
    CHECK_NOTHROW(cuda::check_itself(engine));
    CHECK(engine.residency().blocks() == 0);
  }
}

TEST_CASE("cuda: the plugin beside this program answers an index's searches") {
  const uint32_t dimensions = 48, rows = 3000;
  const auto data = make_rows(Kind::kRandom, rows, dimensions, 81);
  const auto ids = make_ids(0, rows);
  Index gpu(dimensions, 2, "cuda"), cpu(dimensions, 2, "cpu"), automatic(dimensions, 2, "auto");
  for (Index* index : {&gpu, &cpu, &automatic}) {
    add(*index, ids, data);
    index->remove(views({ids.begin() + 5, ids.begin() + 50}));
  }
  const auto queries = make_rows(Kind::kRandom, 20, dimensions, 82);
  const auto wanted = cpu.search(queries, 10, nullptr, 0, Cancel());
  for (Index* index : {&gpu, &automatic}) {
    const auto got = index->search(queries, 10, nullptr, 0, Cancel());
    CHECK(got.handles == wanted.handles);
    CHECK(got.scores == wanted.scores);
    CHECK(index->stats().backend == "cuda");
  }
}
