// Seeded data and the float64 oracle of the engine's tests.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "pointsman/hash.hpp"
#include "pointsman/index.hpp"
#include "pointsman/isa.hpp"

namespace pointsman::test {

// Uniform and normal numbers from a seed, the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return mix64(state_++); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(uniform() * n); }
  float normal() {
    const double r = std::sqrt(-2 * std::log(1 - uniform()));
    return static_cast<float>(r * std::cos(2 * 3.14159265358979323846 * uniform()));
  }

 private:
  uint64_t state_;
};

// POINTSMAN_TEST_MAX_ROWS keeps the sizes small where the processor is emulated.
inline uint32_t at_most_rows(uint32_t rows) {
  const char* limit = std::getenv("POINTSMAN_TEST_MAX_ROWS");
  return limit ? std::min(rows, static_cast<uint32_t>(std::strtoul(limit, nullptr, 10))) : rows;
}

struct ForcedIsa {
  explicit ForcedIsa(const char* name) { setenv("POINTSMAN_ISA", name, 1); }
  ~ForcedIsa() { unsetenv("POINTSMAN_ISA"); }
};

// body(kernels) on each instruction set that this machine has, which is forced meanwhile.
template <typename Body>
void on_each_isa(const Body& body) {
  for (const IsaChoice& choice : available_kernels()) {
    if (!choice.supported) continue;
    const ForcedIsa forced(choice.kernels->isa);
    CAPTURE(choice.kernels->isa);
    body(*choice.kernels);
  }
}

enum class Kind { kRandom, kClustered, kTies, kZeros, kTiny, kHuge, kMixedNorms };

inline std::vector<float> make_rows(Kind kind, uint32_t count, uint32_t dimensions, uint64_t seed) {
  Random random(seed);
  std::vector<float> rows(size_t{count} * dimensions);
  std::vector<float> centres(size_t{16} * dimensions);
  for (float& x : centres) x = random.normal();
  for (uint32_t i = 0; i < count; ++i) {
    float* row = rows.data() + size_t{i} * dimensions;
    const float* centre = centres.data() + size_t{random.below(16)} * dimensions;
    const double spread = std::exp(3 * random.normal());
    for (uint32_t j = 0; j < dimensions; ++j) {
      switch (kind) {
        case Kind::kRandom: row[j] = random.normal(); break;
        case Kind::kClustered: row[j] = centre[j] + 0.01f * random.normal(); break;
        case Kind::kTies: row[j] = centre[j]; break;  // sixteen distinct rows
        case Kind::kZeros: row[j] = i % 3 == 0 ? 0.0f : (i % 3 == 1 ? -0.0f : random.normal()); break;
        case Kind::kTiny: row[j] = 1e-40f * random.normal(); break;
        case Kind::kHuge:
          row[j] = 5e18f / std::sqrt(static_cast<float>(dimensions)) * (random.uniform() < 0.5 ? -1 : 1);
          break;
        case Kind::kMixedNorms: row[j] = static_cast<float>(spread * random.normal()); break;
      }
    }
  }
  return rows;
}

inline std::vector<std::string> make_ids(uint32_t first, uint32_t count) {
  std::vector<std::string> ids;
  for (uint32_t i = 0; i < count; ++i) ids.push_back("expert-" + std::to_string(first + i));
  return ids;
}

inline std::vector<std::string_view> views(const std::vector<std::string>& ids) {
  return {ids.begin(), ids.end()};
}

inline void add(Index& index, const std::vector<std::string>& ids, const std::vector<float>& rows) {
  index.upsert(views(ids), rows, Cancel(), {});
}

// The promised score, written from its definition.
inline float oracle_score(const float* a, const float* b, uint32_t dimensions) {
  double lane[8] = {};
  for (uint32_t i = 0; i < dimensions; ++i)
    lane[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  const double s = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  const float score = static_cast<float>(s);
  return score == 0 ? 0.0f : score;
}

struct Expected {
  float score;
  uint32_t handle;
};

// The k best of rows 0…count−1 (handle = row) among those for which `eligible` is true.
template <typename Eligible>
std::vector<Expected> oracle(const std::vector<float>& rows, uint32_t count, uint32_t dimensions,
                             const float* query, uint32_t k, const Eligible& eligible) {
  std::vector<Expected> all;
  for (uint32_t i = 0; i < count; ++i) {
    if (eligible(i))
      all.push_back({oracle_score(rows.data() + size_t{i} * dimensions, query, dimensions), i});
  }
  const auto before = [](const Expected& a, const Expected& b) {
    return a.score != b.score ? a.score > b.score : a.handle < b.handle;
  };
  const size_t keep = std::min<size_t>(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(keep), all.end(), before);
  all.resize(keep);
  return all;
}

// Empty when query q's part of the result is what the oracle says, bit for bit; else what differs.
inline std::string difference(const SearchResult& result, uint32_t k, uint32_t q,
                              const std::vector<Expected>& expected) {
  if (result.counts[q] != expected.size()) {
    return "count " + std::to_string(result.counts[q]) + " for " + std::to_string(expected.size());
  }
  for (uint32_t i = 0; i < k; ++i) {
    const float score = result.scores[size_t{q} * k + i];
    const uint32_t handle = result.handles[size_t{q} * k + i];
    const bool beyond = i >= expected.size();
    const float wanted = beyond ? -INFINITY : expected[i].score;
    if (handle != (beyond ? 0 : expected[i].handle) || score != wanted ||
        std::signbit(score) != std::signbit(wanted)) {
      return "query " + std::to_string(q) + " rank " + std::to_string(i) + ": handle " +
             std::to_string(handle) + " score " + std::to_string(score);
    }
  }
  return "";
}

}  // namespace pointsman::test
