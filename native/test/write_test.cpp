// Upsert, remove, versions, compaction, snapshots and many threads at once.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "pointsman/thread_pool.hpp"
#include "support.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

std::string code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return code_name(error.code());
  }
  return "none";
}

std::string temporary(const char* name) {
  return (std::filesystem::temp_directory_path() / (std::string(name) + std::to_string(getpid()))).string();
}

}  // namespace

TEST_CASE("a random history of writes: the index is what a map says") {
  const uint32_t dimensions = 5, k = 20;
  Index index(dimensions, 2, "cpu");
  std::map<std::string, std::vector<float>> model;
  std::map<std::string, uint32_t> handles;  // of the living
  uint32_t highest = 0;
  Random random(99);
  const int steps = static_cast<int>(at_most_rows(300));
  for (int step = 0; step < steps; ++step) {
    std::vector<std::string> ids;
    const uint32_t count = random.below(step % 50 == 0 ? 3000 : 40);
    for (uint32_t i = 0; i < count; ++i) ids.push_back("e" + std::to_string(random.below(4000)));
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (random.uniform() < 0.6) {
      const auto rows =
          make_rows(Kind::kRandom, static_cast<uint32_t>(ids.size()), dimensions, random.next());
      add(index, ids, rows);
      for (size_t i = 0; i < ids.size(); ++i) {
        model[ids[i]] = {rows.begin() + static_cast<ptrdiff_t>(i * dimensions),
                         rows.begin() + static_cast<ptrdiff_t>((i + 1) * dimensions)};
        const uint32_t handle = index.handle_of(ids[i]);
        if (const auto known = handles.find(ids[i]); known != handles.end()) {
          CHECK(handle == known->second);
        } else {
          CHECK((highest == 0 || handle >= highest));
          highest = std::max(highest, handle + 1);
          handles[ids[i]] = handle;
        }
      }
    } else {
      size_t there = 0;
      for (const auto& id : ids) {
        there += model.erase(id);
        handles.erase(id);
      }
      CHECK(index.remove(views(ids)) == there);
    }
    CHECK(index.stats().size == model.size());
    CHECK(index.stats().dead_rows <= index.stats().size + 20000);
    if (step % 10 != 0) continue;
    const auto query = make_rows(Kind::kRandom, 1, dimensions, random.next());
    std::vector<Expected> expected;
    for (const auto& [id, row] : model) {
      CHECK(index.vector(id) == row);
      CHECK(index.id_of(handles[id]) == id);
      expected.push_back({oracle_score(row.data(), query.data(), dimensions), handles[id]});
    }
    std::sort(expected.begin(), expected.end(),
              [](auto& a, auto& b) { return a.score != b.score ? a.score > b.score : a.handle < b.handle; });
    if (expected.size() > k) expected.resize(k);
    CHECK(difference(index.search(query, k, nullptr, 0, Cancel()), k, 0, expected) == "");
  }
  // Updating the same few rows for long must not fill memory with dead ones.
  const auto few = make_ids(0, 10);
  for (int i = 0; i < 2000; ++i)
    add(index, few, make_rows(Kind::kRandom, 10, dimensions, static_cast<uint64_t>(i)));
  CHECK(index.stats().dead_rows < 20000);
}

TEST_CASE("upsert is all or nothing") {
  Index index(2, 2, "cpu");
  add(index, {"a"}, {1, 2});
  CHECK(code_of([&] { add(index, {"b", "a", "b"}, {1, 2, 3, 4, 5, 6}); }) == "DUPLICATE_ID");
  CHECK(code_of([&] { add(index, {"b", "a"}, {1, 2, NAN, 4}); }) == "NOT_FINITE");
  CHECK(code_of([&] { add(index, {"b", "a"}, {1, 2, 3e38f, 4}); }) == "NORM_TOO_LARGE");
  CHECK(code_of([&] { add(index, {"b"}, {1, 2, 3}); }) == "WRONG_SHAPE");
  Cancel stopped;
  stopped.request();
  CHECK(code_of([&] { index.upsert(views({"b"}), std::vector<float>{1, 2}, stopped, {}); }) == "ABORTED");
  CHECK(index.stats().size == 1);
  CHECK(!index.has("b"));
  CHECK(index.vector("a") == std::vector<float>{1, 2});
  CHECK(index.ids(0, 10, *std::make_unique<uint32_t>()) == std::vector<std::string>{"a"});
  add(index, {"b"}, {5, 6});
  CHECK(index.handle_of("b") == 1);
}

TEST_CASE("searches beside writes see whole versions") {
  // Every version holds the same number of experts with equal vectors, replaced together: a search that mixed
  // two versions would see two scores.
  const uint32_t dimensions = 16, count = at_most_rows(3000);
  Index index(dimensions, 2, "cpu");
  const auto ids = make_ids(0, count);
  const auto generation = [&](float value) { return std::vector<float>(size_t{count} * dimensions, value); };
  add(index, ids, generation(1));
  std::atomic<bool> stop{false};
  std::atomic<int> mixed{0}, searches{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      const std::vector<float> query(dimensions * (t == 2 ? 20 : 1), 1.0f);
      while (!stop) {
        const auto result = index.search(query, 50, nullptr, 0, Cancel());
        for (size_t i = 0; i < result.scores.size(); ++i) mixed += result.scores[i] != result.scores[0];
        mixed += result.counts[0] != std::min(50u, count);
        index.vector(ids[7]);
        index.has("expert-5");
        ++searches;
      }
    });
  }
  for (int i = 2; i < 40 || searches < 20; ++i) add(index, ids, generation(static_cast<float>(i)));
  stop = true;
  for (auto& reader : readers) reader.join();
  CHECK(mixed == 0);
}

TEST_CASE("filters beside writes: what was excluded is never found") {
  const uint32_t dimensions = 4, count = at_most_rows(60000);
  std::vector<float> rows(size_t{count} * dimensions, 1.0f);
  const auto ids = make_ids(0, count);
  std::atomic<int> wrong{0};
  for (int round = 0; round < 4; ++round) {
    Index index(dimensions, 2, "cpu");
    std::atomic<bool> done{false};
    std::thread reader([&] {
      const std::vector<float> query(dimensions, 1.0f);
      while (!done) {
        // Everybody but this call's own experts: nobody, as long as all of them are known or none.
        const Filter others = index.filter(views(ids), true);
        const auto result = index.search(query, 1, &others, 1, Cancel());
        wrong += result.counts[0] != 0;
        const auto hit = index.search(query, 1, nullptr, 1, Cancel());
        if (hit.counts[0]) wrong += index.id_of(hit.handles[0]) != ids[hit.handles[0]];
      }
    });
    add(index, ids, rows);
    done = true;
    reader.join();
  }
  CHECK(wrong == 0);
}

TEST_CASE("a filter that was used before goes with its experts to their new rows") {
  const uint32_t dimensions = 8, count = 60, k = 40;
  Index index(dimensions, 2, "cpu");
  auto data = make_rows(Kind::kRandom, count, dimensions, 1);
  const auto ids = make_ids(0, count);
  add(index, ids, data);
  std::vector<std::string> odd;
  for (uint32_t i = 1; i < count; i += 2) odd.push_back(ids[i]);
  const Filter filter = index.filter(views(odd), false);
  const auto query = make_rows(Kind::kRandom, 1, dimensions, 2);
  for (uint32_t round = 0; round < 30; ++round) {
    const auto expected =
        oracle(data, count, dimensions, query.data(), k, [](uint32_t i) { return i % 2 == 1; });
    CHECK(difference(index.search(query, k, &filter, 0, Cancel()), k, 0, expected) == "");
    // Some move, in the block where they are or a new one, and others come that are in no filter.
    const uint32_t first = round * 7 % (count - 10);
    const auto moved = make_rows(Kind::kRandom, 10, dimensions, 100 + round);
    std::copy(moved.begin(), moved.end(), data.begin() + first * dimensions);
    add(index, {ids.begin() + first, ids.begin() + first + 10}, moved);
    add(index, make_ids(1000 + round * 20, 20), make_rows(Kind::kRandom, 20, dimensions, 500 + round));
  }
}

TEST_CASE("a filter is of one index, also after that is gone") {
  auto first = std::make_unique<Index>(2, 1, "cpu");
  add(*first, {"a"}, {1, 2});
  const Filter filter = first->filter(views({"a"}), false);
  first.reset();
  for (int i = 0; i < 50; ++i) {  // one of them may well lie where the first lay
    Index other(2, 1, "cpu");
    CHECK(code_of([&] {
            other.search(std::vector<float>{1, 1}, 1, &filter, 0, Cancel());
          }) == "BAD_ARGUMENT");
  }
}

TEST_CASE("snapshots: what was saved comes back, what was altered is refused") {
  const uint32_t dimensions = 19, rows = at_most_rows(20000);
  const auto data = make_rows(Kind::kRandom, rows, dimensions, 21);
  Index index(dimensions, 2, "cpu");
  const auto ids = make_ids(0, rows);
  add(index, ids, data);
  index.remove(views({ids[3], ids[rows - 1]}));
  add(index, {"again", ids[5]}, make_rows(Kind::kRandom, 2, dimensions, 22));
  const auto path = temporary("pointsman-snapshot");
  index.save(path, Cancel(), {});
  const auto queries = make_rows(Kind::kRandom, 9, dimensions, 23);
  const auto wanted = index.search(queries, 15, nullptr, 0, Cancel());
  for (const bool verify : {true, false}) {
    auto opened = Index::open(path, 2, "cpu", verify, Cancel(), {});
    const auto result = opened->search(queries, 15, nullptr, 0, Cancel());
    CHECK(result.handles == wanted.handles);
    CHECK(result.scores == wanted.scores);
    CHECK(!opened->has(ids[3]));
    CHECK(opened->id_of(rows) == "again");
    CHECK(code_of([&] { opened->id_of(3); }) == "UNKNOWN_HANDLE");
    // And it lives on: a removed handle is not given out again.
    add(*opened, {ids[3], ids[0]}, make_rows(Kind::kRandom, 2, dimensions, 24));
    CHECK(opened->handle_of(ids[3]) == rows + 1);
    CHECK(opened->handle_of(ids[0]) == 0);
    CHECK(opened->remove(views(ids)) == rows - 1);
    CHECK(opened->stats().size == 1);
  }
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const auto refused = [&](const std::string& content) {
    const auto broken = temporary("pointsman-broken");
    std::ofstream(broken, std::ios::binary) << content;
    const auto code = code_of([&] { Index::open(broken, 1, "cpu", true, Cancel(), {}); });
    std::filesystem::remove(broken);
    return code;
  };
  Random random(31);
  for (int i = 0; i < 90; ++i) {
    std::string altered = bytes;
    // From the end of the magic and the format on, which have an error of their own.
    const size_t at =
        i < 40 ? 12 + random.below(i < 20 ? 100 : 4084)
               : 4096 + static_cast<size_t>(random.uniform() * static_cast<double>(bytes.size() - 4096));
    altered[at] = static_cast<char>(altered[at] ^ (1 << random.below(8)));
    CHECK(refused(altered) == "FILE_CORRUPT");
    CHECK(refused(bytes.substr(0, static_cast<size_t>(random.uniform() *
                                                      static_cast<double>(bytes.size())))) == "FILE_CORRUPT");
  }
  CHECK(refused("") == "FILE_CORRUPT");
  CHECK(refused(bytes + "x") == "FILE_CORRUPT");
  CHECK(refused(std::string(5000, 'x')) == "FILE_VERSION");
  CHECK(code_of([] { Index::open("/nowhere/at/all", 1, "cpu", true, Cancel(), {}); }) == "FILE_IO");
  CHECK(code_of([&] { index.save("/nowhere/at/all", Cancel(), {}); }) == "FILE_IO");
  // Temporary files of a killed process that had our number are passed over.
  std::vector<std::string> left;
  for (int i = 0; i < 400; ++i) {
    left.push_back(path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(i));
    std::ofstream(left.back()) << "left";
  }
  index.save(path, Cancel(), {});
  for (const auto& name : left) std::filesystem::remove(name);
  std::filesystem::remove(path);
}

TEST_CASE("the prefix: learned once it pays, kept up to date by writes") {
  const uint32_t dimensions = 64, count = 36000;
  if (at_most_rows(count) < count) return;  // too few rows to learn one
  Index index(dimensions, 2, "cpu");
  auto data = make_rows(Kind::kClustered, count, dimensions, 51);
  // Loaded in parts: the blocks of the first come before there is a prefix.
  for (uint32_t first = 0; first < count; first += 9000) {
    CHECK(index.stats().pruning == "norms");
    const auto begin = data.begin() + static_cast<ptrdiff_t>(first) * dimensions;
    const auto ids = make_ids(first, 9000);
    add(index, ids, {begin, begin + 9000 * dimensions});
  }
  CHECK(index.stats().pruning == "norms, prefix of 32 components");
  const auto other = make_rows(Kind::kRandom, 3000, dimensions, 52);  // unlike what it was learned from
  add(index, make_ids(500, 3000), other);
  std::copy(other.begin(), other.end(), data.begin() + 500 * dimensions);
  const auto queries = make_rows(Kind::kClustered, 12, dimensions, 53);
  const auto result = index.search(queries, 10, nullptr, 0, Cancel());
  for (uint32_t q = 0; q < 12; ++q) {
    const auto expected =
        oracle(data, count, dimensions, queries.data() + q * dimensions, 10, [](uint32_t) { return true; });
    CHECK(difference(result, 10, q, expected) == "");
  }
  const auto path = temporary("pointsman-prefix");
  index.save(path, Cancel(), {});
  const auto opened = Index::open(path, 2, "cpu", true, Cancel(), {});
  CHECK(opened->stats().pruning == "norms, prefix of 32 components");
  const auto again = opened->search(queries, 10, nullptr, 0, Cancel());
  CHECK(again.handles == result.handles);
  CHECK(again.scores == result.scores);
  std::filesystem::remove(path);
  Index plain(dimensions, 2, "cpu");
  add(plain, make_ids(0, count), make_rows(Kind::kRandom, count, dimensions, 54));
  CHECK(plain.stats().pruning == "norms");  // no direction carries more than another
}

TEST_CASE("an empty index saves and opens") {
  const auto path = temporary("pointsman-empty");
  Index(3, 1, "cpu").save(path, Cancel(), {});
  auto opened = Index::open(path, 1, "cpu", true, Cancel(), {});
  CHECK(opened->stats().size == 0);
  CHECK(opened->search(std::vector<float>(3), 4, nullptr, 0, Cancel()).counts[0] == 0);
  add(*opened, {"x"}, {1, 2, 3});
  CHECK(opened->handle_of("x") == 0);
  std::filesystem::remove(path);
}

TEST_CASE("the pool: every index once, exceptions come back, loops nest") {
  auto& pool = ThreadPool::shared();
  std::vector<std::atomic<int>> seen(1000);
  pool.parallel_for(1000, 4, [&](size_t i, unsigned slot) {
    CHECK(slot < 4);
    ++seen[i];
  });
  for (auto& n : seen) CHECK(n == 1);
  CHECK_THROWS_AS(pool.parallel_for(100, 4,
                                    [](size_t i, unsigned) {
                                      if (i == 50) throw Error(Code::INTERNAL, "fifty");
                                    }),
                  Error);
  std::atomic<int> total{0};
  pool.parallel_for(8, 4,
                    [&](size_t, unsigned) { pool.parallel_for(8, 4, [&](size_t, unsigned) { ++total; }); });
  CHECK(total == 64);
}
