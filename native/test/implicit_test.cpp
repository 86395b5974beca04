#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "pointsman/hash.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/solve.hpp"
#include "support.hpp"
#include "train/dense.hpp"
#include "train/implicit.hpp"
#include "train/interactions.hpp"

using namespace pointsman;
using namespace pointsman::train;

namespace {

struct Pairs {
  Pairs(size_t users_, size_t items_, size_t count, bool weighted) : users(users_), items(items_) {
    for (size_t e = 0; e < count; ++e) {
      user.push_back(static_cast<uint32_t>(mix64(e) % users));
      item.push_back(static_cast<uint32_t>(mix64(e * 7 + 1) % (items - 1)));  // the last has none
      if (weighted) weight.push_back(static_cast<float>(mix64(e * 3) % 5) / 2);
    }
  }
  OwnLines by_user() const { return {user, item, weight, users}; }
  OwnLines by_item() const { return {item, user, weight, items}; }
  size_t users, items;
  std::vector<uint32_t> user, item;
  std::vector<float> weight;
};

Factorisation run(const Pairs& pairs, const ImplicitSettings& settings, unsigned threads) {
  return factorise(pairs.by_user(), pairs.by_item(), settings, first_items(pairs.items, settings), 0, threads,
                   Cancel(), {}, {});
}

bool same(const Table& a, const Table& b) {
  return a.values.bytes() == b.values.bytes() &&
         std::equal(a.values.as<float>(), a.values.as<float>() + a.values.bytes() / sizeof(float),
                    b.values.as<float>());
}

std::string temporary(const char* name) { return "/tmp/pointsman-" + std::to_string(getpid()) + "-" + name; }

Code code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return Code::INTERNAL;
}

void flip(const std::string& path, long offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(offset);
  file.put(byte);
}

}  // namespace

TEST_CASE("each user solves the normal equations, in float64 written out") {
  const Pairs pairs(50, 30, 900, true);
  const ImplicitSettings s{20, 0.3, 0.05, 0.5, 0.1, 2, 4};
  const Factorisation found = run(pairs, s, 2);
  const size_t k = 20;
  for (size_t u = 0; u < pairs.users; ++u) {
    std::vector<double> a(k * k, 0.0), b(k, 0.0);
    double mass = 0.3 * 30;
    for (size_t i = 0; i < pairs.items; ++i) {
      const float* y = found.items.row(i);
      for (size_t p = 0; p < k * k; ++p) a[p] += 0.3 * y[p / k] * y[p % k];
    }
    for (size_t e = 0; e < pairs.user.size(); ++e) {
      if (pairs.user[e] != u) continue;
      const float* y = found.items.row(pairs.item[e]);
      const double w = pairs.weight[e];
      mass += w;
      for (size_t p = 0; p < k * k; ++p) a[p] += w * y[p / k] * y[p % k];
      for (size_t p = 0; p < k; ++p) b[p] += w * y[p];
    }
    for (size_t p = 0; p < k; ++p) a[p * k + p] += 0.05 * std::sqrt(mass);
    cholesky(a, k);
    cholesky_solve(a, k, b);
    for (size_t p = 0; p < k; ++p) CHECK(found.users.row(u)[p] == doctest::Approx(b[p]).epsilon(1e-3));
  }
  for (size_t p = 0; p < k; ++p) CHECK(found.items.row(29)[p] == 0);  // no interaction
}

TEST_CASE("factors: the same bits on every thread count and instruction set") {
  const Pairs pairs(300, 120, 9000, true);
  for (const uint32_t k : {1u, 24u, 64u}) {
    const ImplicitSettings s{k, 0.1, 0.01, 1, 0.1, 2, 1};
    const Factorisation one = run(pairs, s, 1);
    CHECK(same(one.users, run(pairs, s, 5).users));
    test::on_each_isa([&](const Kernels&) {
      const Factorisation other = run(pairs, s, 2);
      CHECK(same(one.users, other.users));
      CHECK(same(one.items, other.items));
    });
  }
}

TEST_CASE("where float32 is too short for a pivot, float64 solves") {
  // Two items with all but the same vector, and next to no penalty.
  ImplicitSettings s{2, 0, 1e-9, 0, 0.1, 1, 0};
  Table items(2, 2);
  for (size_t i = 0; i < 2; ++i) {
    items.row(i)[0] = 1;
    items.row(i)[1] = i == 0 ? 1.0f : 1.0f + 1e-5f;
  }
  const std::vector<uint32_t> line{0, 0}, id{0, 1};
  Table out(1, 2);
  solve_lines(OwnLines(line, id, {}, 1), items, gram(items, 1, Cancel()), 2, s, out, 1, Cancel(), {});
  for (size_t i = 0; i < 2; ++i) {
    const double score = double{out.row(0)[0]} * items.row(i)[0] + double{out.row(0)[1]} * items.row(i)[1];
    CHECK(score == doctest::Approx(1).epsilon(1e-2));
  }
}

TEST_CASE("interaction files: the same result as from memory, and torn or altered ones are refused") {
  const Pairs pairs(300, 120, 200'000, true);  // lines longer than one piece of reading
  const std::string records = temporary("records"), path = temporary("interactions");
  {
    std::ofstream file(records, std::ios::binary);
    for (size_t e = 0; e < pairs.user.size(); ++e) {
      file.write(reinterpret_cast<const char*>(&pairs.user[e]), 4);
      file.write(reinterpret_cast<const char*>(&pairs.item[e]), 4);
      file.write(reinterpret_cast<const char*>(&pairs.weight[e]), 4);
    }
  }
  const ImplicitSettings s{8, 0.1, 0.01, 1, 0.1, 2, 1};
  const Factorisation memory = run(pairs, s, 2);
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{1} << 30}) {  // a line at a time; all at once
    write_interactions(records, path, 300, 120, true, "u", "", bytes == 1 ? 80'000 : bytes, Cancel(), {});
    const InteractionFile file(path, Cancel(), {});
    CHECK(file.counts().count == 200'000);
    CHECK(file.user_names() == "u");
    CHECK(file.item_names().empty());
    const Factorisation found =
        factorise(file.by_user(), file.by_item(), s, first_items(120, s), 0, 2, Cancel(), {}, {});
    CHECK(same(memory.users, found.users));
    CHECK(same(memory.items, found.items));
  }
  const auto open = [&] { InteractionFile(path, Cancel(), {}); };
  for (const long offset : {8L, 40L, 100L, 5000L, 900'000L}) {
    flip(path, offset);
    const Code code = code_of(open);
    CHECK((code == Code::FILE_CORRUPT || (offset == 8 && code == Code::FILE_VERSION)));
    flip(path, offset);
  }
  open();
  REQUIRE(truncate(path.c_str(), 100'000) == 0);
  CHECK(code_of(open) == Code::FILE_CORRUPT);
  REQUIRE(truncate(path.c_str(), 3) == 0);
  CHECK(code_of(open) == Code::FILE_CORRUPT);
  flip(path, 1);
  CHECK(code_of(open) == Code::FILE_VERSION);
  CHECK(code_of([&] { write_interactions(records, path, 10, 120, true, "", "", 1 << 20, Cancel(), {}); }) ==
        Code::WRONG_SHAPE);
  Cancel cancel;
  cancel.request();
  CHECK(code_of([&] { write_interactions(records, path, 300, 120, true, "", "", 1 << 20, cancel, {}); }) ==
        Code::ABORTED);
  std::remove(records.c_str());
  std::remove(path.c_str());
  CHECK(code_of(open) == Code::FILE_IO);
}

TEST_CASE("a run that goes on from a checkpoint ends with the same bits; checkpoints of others are refused") {
  const Pairs pairs(80, 40, 2000, false);
  const std::string path = temporary("checkpoint");
  ImplicitSettings s{12, 0.1, 0.01, 1, 0.1, 4, 1};
  const Factorisation whole = run(pairs, s, 2);
  const auto save = [&](uint32_t done, const Table& items) {
    if (done == 2) write_checkpoint(path, items, done, 80, s, 99, Cancel());
  };
  factorise(pairs.by_user(), pairs.by_item(), s, first_items(40, s), 0, 2, Cancel(), {}, save);
  const auto read = [&](const ImplicitSettings& with, uint64_t fingerprint) {
    return read_checkpoint(path, 80, 40, with, fingerprint, Cancel());
  };
  Checkpoint found = read(s, 99);
  CHECK(found.done == 2);
  const Factorisation rest =
      factorise(pairs.by_user(), pairs.by_item(), s, std::move(found.items), 2, 1, Cancel(), {}, {});
  CHECK(same(whole.users, rest.users));
  CHECK(same(whole.items, rest.items));
  CHECK(code_of([&] { read(s, 98); }) == Code::BAD_ARGUMENT);
  ImplicitSettings other = s;
  other.penalty = 0.02;
  CHECK(code_of([&] { read(other, 99); }) == Code::BAD_ARGUMENT);
  other = s;
  other.sweeps = 1;
  CHECK(code_of([&] { read(other, 99); }) == Code::BAD_ARGUMENT);
  flip(path, 8);  // the format's number
  CHECK(code_of([&] { read(s, 99); }) == Code::FILE_VERSION);
  flip(path, 8);
  flip(path, 4200);
  CHECK(code_of([&] { read(s, 99); }) == Code::FILE_CORRUPT);
  std::remove(path.c_str());
  // Nothing can be written there: an error, and nothing is left.
  CHECK(code_of([&] { write_checkpoint("/proc/none", whole.items, 1, 80, s, 9, Cancel()); }) ==
        Code::FILE_IO);
}

TEST_CASE("factors: what is out of range or stopped is an error") {
  const Pairs pairs(10, 10, 50, false);
  for (const ImplicitSettings& s :
       {ImplicitSettings{0}, ImplicitSettings{1025}, ImplicitSettings{8, -1}, ImplicitSettings{8, 0.1, 0},
        ImplicitSettings{8, 0.1, 1, 3}, ImplicitSettings{8, std::nan("")}}) {
    CHECK(code_of([&] { check(s); }) == Code::BAD_ARGUMENT);
  }
  const ImplicitSettings s{8};
  Cancel cancel;
  cancel.request();
  CHECK(code_of([&] {
          factorise(pairs.by_user(), pairs.by_item(), s, first_items(10, s), 0, 1, cancel, {}, {});
        }) == Code::ABORTED);
  Table few(3, 8), out(10, 8);
  CHECK(code_of([&] {
          solve_lines(pairs.by_user(), few, gram(few, 1, Cancel()), 3, s, out, 1, Cancel(), {});
        }) == Code::FILE_CORRUPT);
}
