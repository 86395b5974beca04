// The bound of the codes: whatever the rows look like, no row that could win is excluded, and on ordinary
// data few others are kept. Results on adversarial rows are the oracle's, bit for bit.
#include <doctest/doctest.h>

#include <numeric>
#include <tuple>

#include "core/rotation.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/isa.hpp"
#include "support.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

constexpr uint32_t kDimensions = 48;

// Named ways to make a row hard for a scale that it shares with 1023 others.
std::vector<float> adversarial(const std::string& kind, uint32_t count) {
  auto rows = make_rows(Kind::kRandom, count, kDimensions, 41);
  Random random(43);
  for (uint32_t i = 0; i < count; ++i) {
    float* row = rows.data() + size_t{i} * kDimensions;
    if (kind == "one huge component") {
      if (i % 97 == 5) row[i % kDimensions] = 1e15f;
    } else if (kind == "denormals") {
      for (uint32_t j = 0; j < kDimensions; ++j) row[j] *= 1e-43f;
    } else if (kind == "constant rows") {
      std::fill_n(row, kDimensions, static_cast<float>(i % 7));
    } else if (kind == "equal up to one ulp") {
      for (uint32_t j = 0; j < kDimensions; ++j)
        row[j] = std::nextafter(rows[j], random.uniform() < 0.5 ? 9.0f : -9.0f);
    } else if (kind == "identical rows") {
      std::copy_n(rows.data(), kDimensions, row);
    } else if (kind == "an outlier component") {
      row[3] = 300.0f + 0.01f * random.normal();
    } else if (kind == "very different size") {
      const float scale = std::ldexp(1.0f, static_cast<int>(i % 100) - 60);
      for (uint32_t j = 0; j < kDimensions; ++j) row[j] *= scale;
    } else if (kind == "of all sizes") {
      for (uint32_t j = 0; j < kDimensions; ++j)
        row[j] = std::ldexp(row[j], static_cast<int>(random.below(200)) - 145);
    } else if (kind == "multiples of a step") {  // which codes need not miss, but for rounding
      for (uint32_t j = 0; j < kDimensions; ++j)
        row[j] = static_cast<float>(static_cast<int>(random.below(255)) - 127) * 0.1f;
    } else if (kind == "zeros") {
      std::fill_n(row, kDimensions, 0.0f);
    } else if (kind == "zeros among them") {
      if (i % 2 == 0) std::fill_n(row, kDimensions, 0.0f);
    }
  }
  return rows;
}

// The code of one component less the one that stands for zero.
int row_code(const uint8_t* codes, uint32_t coding, uint32_t row, uint32_t j) {
  const bool nibbles = coding == POINTSMAN_NIBBLES;
  const uint32_t step = nibbles ? j / 8 : j / 4;
  const uint8_t byte = codes[place_of(row, step, coding, kDimensions) + j % 4];
  return nibbles ? (j % 8 < 4 ? byte & 15 : byte >> 4) - 8 : byte - 128;
}

}  // namespace

TEST_CASE("the codes never hide more than the page says") {
  for (const char* kind : {"ordinary", "one huge component", "denormals", "constant rows",
                           "equal up to one ulp", "an outlier component", "very different size",
                           "zeros among them", "of all sizes", "multiples of a step", "zeros"}) {
    CAPTURE(kind);
    const uint32_t stride = stride_of(kDimensions);
    const auto rows = adversarial(kind, kCodePage);
    std::vector<float> padded(size_t{kCodePage} * stride), norms(kCodePage, 1e30f);
    std::vector<uint32_t> handles(kCodePage);
    std::iota(handles.begin(), handles.end(), 5u);
    for (uint32_t i = 0; i < kCodePage; ++i) {
      std::copy_n(rows.data() + i * kDimensions, kDimensions, padded.data() + i * stride);
    }
    std::vector<uint8_t> codes[2];
    CodePage pages[2];
    for (const uint32_t coding : {POINTSMAN_BYTES, POINTSMAN_NIBBLES}) {
      codes[coding].resize(page_bytes(coding, kDimensions));
    }
    pages[0] =
        encode_bytes(padded.data(), stride, kDimensions, norms.data(), handles.data(), codes[0].data());
    pages[1] = encode_nibbles(padded.data(), stride, kDimensions, pages[0], codes[1].data());
    const auto queries = adversarial("ordinary", 3);
    for (const uint32_t coding : {POINTSMAN_BYTES, POINTSMAN_NIBBLES}) {
      CAPTURE(coding);
      const CodePage& page = pages[coding];
      CHECK(page.scale > 0);
      CHECK(page.min_handle == 5);
      int beyond = 0;
      for (uint32_t r = 0; r < kCodePage; ++r) {
        long double missed = 0, coded = 0;
        for (uint32_t j = 0; j < kDimensions; ++j) {
          const long double code =
              static_cast<long double>(page.scale) * row_code(codes[coding].data(), coding, r, j);
          const long double left = rows[r * kDimensions + j] - code;
          missed += left * left;
          coded += code * code;
        }
        beyond += std::sqrt(missed) > page.error || std::sqrt(coded) > page.hat;
      }
      CHECK(beyond == 0);
      for (const auto& [limits, finer] : {std::pair{CodeLimits{127, 32, 128}, 32},
                                          {{127, 128, 2184}, 16},
                                          {{16, 0, 0}, 32},
                                          {{63, 0, 0}, 1},
                                          {{127, 0, 0}, 8}}) {
        for (uint32_t q = 0; q < 3; ++q) {
          const size_t bytes = query_bytes(coding, coding_steps(coding, kDimensions));
          std::vector<int8_t> query_codes(2 * bytes);
          const float* query = queries.data() + q * kDimensions;
          const QueryCode code =
              encode_query(query, kDimensions, {limits, {limits.single, 0, 0}, 0, finer, nullptr}, bytes,
                           query_codes.data());
          double query_norm = 0;
          for (uint32_t j = 0; j < kDimensions; ++j) query_norm += static_cast<double>(query[j]) * query[j];
          query_norm = std::sqrt(query_norm);
          CHECK(code.full.error <= code.coarse.error);
          int wrong = 0;
          for (uint32_t j = 0; j < kDimensions; ++j) {
            wrong +=
                std::abs(query_codes[j]) > limits.single || std::abs(query_codes[bytes + j]) > limits.single;
          }
          for (uint32_t start = 0; limits.block > 0 && start < kDimensions; start += limits.block) {
            int halves[2] = {};
            for (uint32_t j = start; j < std::min(kDimensions, start + limits.block); ++j) {
              halves[j / 2 % 2] += std::abs(query_codes[j]);
            }
            wrong += halves[0] > limits.half || halves[1] > limits.half;
          }
          for (uint32_t r = q; r < kCodePage; r += 3) {  // another third of the rows for each query
            int64_t coarse = 0, rest = 0;
            double real = 0;
            for (uint32_t j = 0; j < kDimensions; ++j) {
              const int row = row_code(codes[coding].data(), coding, r, j);
              coarse += int64_t{query_codes[j]} * row;
              rest += int64_t{query_codes[bytes + j]} * row;
              real += static_cast<double>(query[j]) * rows[r * kDimensions + j];
            }
            const auto outside = [&](const QueryStep& set, int64_t sum) {
              const double seen = set.step * page.scale * static_cast<double>(sum);
              const double hidden = query_norm * page.error + set.error * page.hat;
              return std::fabs(real - seen) > hidden * (1 + 1e-9) + 1e-300;
            };
            wrong += outside(code.coarse, coarse) + outside(code.full, coarse * finer + rest);
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

TEST_CASE("both looks at a prefix bound the scores from above") {
  constexpr uint32_t kWide = 64;
  const uint32_t stride = stride_of(kWide);
  Random random(3);
  std::vector<float> rows(size_t{kCodePage} * stride);
  std::vector<const float*> sample;
  for (uint32_t i = 0; i < kCodePage; ++i) {
    float* row = rows.data() + i * stride;
    const float norm = i % 7 == 0 ? 0 : i % 5 == 0 ? 1e-20f : 1;
    for (uint32_t j = 0; j < kWide; ++j) {
      row[j] = norm * static_cast<float>((random.uniform() - 0.5) / (1 + j));
      if (i % 11 == 0 && j == i / 11 % kWide) row[j] = 0.6f;
    }
    sample.push_back(row);
  }
  const auto rotation = Rotation::learn(sample, kWide, 1, Cancel());
  REQUIRE(rotation);
  std::vector<uint8_t> codes(page_bytes(POINTSMAN_PREFIX, kWide));
  const CodePage page = rotation->encode_prefixes(rows.data(), stride, codes.data());
  for (const auto& [coarse, rest] :
       {std::pair{CodeLimits{127, kShortPrefix, 128}, CodeLimits{64, 0, 0}}, {{127, 0, 0}, {127, 0, 0}}}) {
    for (uint32_t q = 0; q < 24; ++q) {
      float query[kWide];  // rows themselves, and others
      for (uint32_t j = 0; j < kWide; ++j) {
        query[j] = q % 2 ? rows[q * stride + j] : static_cast<float>(random.uniform() - 0.5);
      }
      double prefix[kPrefixComponents], norm;
      int8_t query_codes[kShortPrefix + kPrefixComponents];
      rotation->apply(query, prefix);
      const QueryCode code = encode_query_prefix(prefix, {coarse, rest, 0, 0, nullptr}, query_codes, norm);
      int below = 0;
      for (uint32_t r = 0; r < kCodePage; ++r) {
        double real = 0;
        int first = 0, second = 0;
        for (uint32_t j = 0; j < kWide; ++j) real += static_cast<double>(query[j]) * rows[r * stride + j];
        for (uint32_t j = 0; j < kPrefixComponents; ++j) {
          const int row = codes[place_of(r, j / 4, POINTSMAN_PREFIX, kWide) + j % 4] - 128;
          if (j < kShortPrefix) first += row * query_codes[j];
          second += row * query_codes[kShortPrefix + j];
        }
        const auto bound = [&](const QueryStep& set, int sum) {
          return set.step * page.scale * sum + norm * page.error + set.error * page.hat;
        };
        below += (bound(code.coarse, first) < real) + (bound(code.full, second) < real);
      }
      CHECK(below == 0);
      CHECK(query_codes[2 * kShortPrefix - 1] == 0);  // the second look leaves out the first one's rest
    }
  }
}

TEST_CASE("nibbles of ordinary rows hide little") {
  // Four bits of a normal component leave an error of 0.11 of the row's norm; a scale for the largest one of
  // a page would leave half as much again.
  const uint32_t stride = stride_of(kDimensions);
  const auto rows = adversarial("ordinary", kCodePage);
  std::vector<float> padded(size_t{kCodePage} * stride), norms(kCodePage, 1e30f);
  std::vector<uint32_t> handles(kCodePage);
  double mean_norm = 0;
  for (uint32_t i = 0; i < kCodePage; ++i) {
    std::copy_n(rows.data() + i * kDimensions, kDimensions, padded.data() + i * stride);
    double squares = 0;
    for (uint32_t j = 0; j < kDimensions; ++j) squares += std::pow(rows[i * kDimensions + j], 2);
    mean_norm += std::sqrt(squares) / kCodePage;
  }
  std::vector<uint8_t> codes(page_bytes(POINTSMAN_BYTES, kDimensions));
  const CodePage bytes =
      encode_bytes(padded.data(), stride, kDimensions, norms.data(), handles.data(), codes.data());
  const CodePage page = encode_nibbles(padded.data(), stride, kDimensions, bytes, codes.data());
  CHECK(page.error < 0.23 * mean_norm);  // the worst of 1024 rows of different norms
  CHECK(bytes.error < 0.015 * mean_norm);
}

TEST_CASE("adversarial rows: the oracle's results") {
  const uint32_t count = std::max(1200u, at_most_rows(5000)), k = 15;  // a page of codes at least
  for (const char* kind : {"one huge component", "denormals", "constant rows", "equal up to one ulp",
                           "identical rows", "an outlier component", "very different size",
                           "zeros among them", "of all sizes", "multiples of a step"}) {
    CAPTURE(kind);
    const auto rows = adversarial(kind, count);
    auto queries = adversarial("ordinary", 8);
    std::fill_n(queries.begin() + kDimensions, kDimensions, 0.0f);
    std::copy_n(rows.begin(), kDimensions, queries.begin() + 2 * kDimensions);  // a row itself
    on_each_isa([&](const Kernels&) {
      Index index(kDimensions, 2, "cpu");
      add(index, make_ids(0, count), rows);
      const auto result = index.search(queries, k, nullptr, 0, Cancel());
      for (uint32_t q = 0; q < 8; ++q) {
        const auto expected = oracle(rows, count, kDimensions, queries.data() + q * kDimensions, k,
                                     [](uint32_t) { return true; });
        CHECK(difference(result, k, q, expected) == "");
      }
    });
  }
}

TEST_CASE("the bound is needed whole: winners whose codes hide all that can be hidden") {
  // Rows of one page share the scale 1 (a component of 127), or the query's coarse or full codes have the
  // step 1: then 0.49 codes as 0, or where a coarse code is made of a full one, 0.43. Rivals are coded
  // exactly and lie first, so the winner is kept only by what the bound adds.
  const uint32_t dimensions = 64, count = kCodePage, winner = 700, rivals = 600;
  on_each_isa([&](const Kernels& kernels) {
    const CodeKernel& kernel = kernels.codings[POINTSMAN_BYTES];
    const int limit = kernel.coarse.single;
    if (limit == 0) return;
    for (const int largest : {0, limit, limit * kernel.finer}) {
      CAPTURE(largest);
      const bool in_query = largest > 0, coarse = largest == limit;
      std::vector<float> rows(count * dimensions), query(dimensions);
      float* best = rows.data() + winner * dimensions;
      if (in_query) {
        query[0] = static_cast<float>(largest);
        query[1] = std::min(coarse ? 26.0f : 30.0f, query[0] / 2);
      } else {
        rows[0] = 127;
      }
      for (uint32_t j = in_query ? 2 : 1; j < dimensions; ++j) {
        query[j] = !in_query ? 1.0f : coarse ? 0.43f : 0.49f;
        best[j] = in_query ? 1.0f : 0.49f;
      }
      for (uint32_t i = 1; i < rivals; ++i) {
        float* row = rows.data() + i * dimensions;
        row[1] = in_query ? 1.0f : 30.0f;
        for (uint32_t j = 2; in_query && j < dimensions; ++j) row[j] = j % 2 ? 1.0f : -1.0f;
      }
      Index index(dimensions, 1, "cpu");
      add(index, make_ids(0, count), rows);
      CHECK(index.search(query, 1, nullptr, 1, Cancel()).handles[0] == winner);
    }
  });
}

TEST_CASE("the code kernels sum exactly, whatever the codes") {
  on_each_isa([](const Kernels& kernels) {
    if (kernels.codings[POINTSMAN_BYTES].coarse.single == 0) return;
    for (const uint32_t coding : {POINTSMAN_BYTES, POINTSMAN_NIBBLES, POINTSMAN_PREFIX}) {
      CAPTURE(coding);
      const CodeKernel& kernel = kernels.codings[coding];
      const uint32_t per_step = coding == POINTSMAN_NIBBLES ? 8 : 4;
      Random random(7);
      const bool prefix = coding == POINTSMAN_PREFIX;
      for (const uint32_t in_steps : {1u, 2u, 6u, 7u, 32u, at_most_rows(1024)}) {
        const uint32_t dimensions = in_steps * per_step;  // a prefix has its own number of steps
        for (const uint32_t count : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 11u, 13u, 53u}) {
          const uint32_t steps = first_steps(coding, dimensions),
                         all_steps = coding_steps(coding, dimensions);
          const size_t first = query_bytes(coding, steps), all = query_bytes(coding, all_steps);
          std::vector<uint8_t> page(page_bytes(coding, dimensions));
          std::vector<int8_t> codes(count * (first + all));  // the coarse ones of each, then the rest
          const CodeTile tile = tile_of(page.data(), 3, coding, dimensions);
          // Extremes are where a kernel would saturate.
          const auto fill = [&](uint32_t first_step, uint32_t of_steps) {
            uint8_t* to = page.data() + place_of(3 * kTileRows, first_step, coding, dimensions);
            for (size_t i = 0; i < size_t{of_steps} * kTileRows * 4; ++i) {
              to[i] = random.uniform() < 0.5 ? 255 : static_cast<uint8_t>(random.below(256));
            }
          };
          fill(0, tile.steps);
          if (tile.more_steps > 0) fill(tile.steps, tile.more_steps);
          for (uint32_t q = 0; q < count; ++q) {
            int8_t* coarse = codes.data() + q * (first + all);
            for (size_t i = 0; i < first + all; ++i) {
              const int limit = (i < first ? kernel.coarse : kernel.rest).single;
              const int code = random.uniform() < 0.7 ? limit : static_cast<int>(random.below(3)) - 1;
              coarse[i] = static_cast<int8_t>(random.uniform() < 0.1 ? -code : code);
            }
            // What a block's sums of 16 bits have room for, all of it in a few codes or spread over all.
            const auto& [single, block, half] = kernel.coarse;
            const bool few = random.uniform() < 0.5;
            for (size_t start = 0; block > 0 && start < first; start += block) {
              int room[2] = {half, half};
              const int share = few ? 127 : half / static_cast<int>(block / 2);
              for (size_t n = 0, i = random.below(block); n < block; ++n, i = (i + 1) % block) {
                int& left = room[i / 2 % 2];
                const int most = std::min({left, single, share});
                if (start + i >= first) continue;
                coarse[start + i] = static_cast<int8_t>(random.uniform() < 0.9 ? most : -most);
                left -= most;
              }
            }
          }
          std::vector<const int8_t*> queries;
          std::vector<CodeThreshold> thresholds(count, {INT32_MIN, INT32_MIN});
          for (uint32_t q = 0; q < count; ++q) queries.push_back(codes.data() + q * (first + all));
          std::vector<CodeHit> hits(size_t{kTileRows} * count);
          const uint64_t eligible = random.next();
          const uint32_t found =
              kernel.scan(tile, eligible, queries.data(), count, thresholds.data(), hits.data());
          CHECK(found == static_cast<uint32_t>(__builtin_popcountll(eligible)) * count);
          // Bytes are summed as they are, or less 128 where the kernel says that nothing is left to take off.
          const int taken = coding != POINTSMAN_NIBBLES && kernel.zero == 0 ? 128 : 0;
          const auto sum_of = [&](const int8_t* query, size_t components, uint32_t row) {
            int32_t sum = 0;
            for (uint32_t j = 0; j < components; ++j) {
              const size_t at = place_of(3 * kTileRows + row, j / per_step, coding, dimensions) + j % 4;
              const int code = coding != POINTSMAN_NIBBLES ? page[at]
                               : j % 8 < 4                 ? page[at] & 15
                                                           : page[at] >> 4;
              sum += (code - taken) * query[j];
            }
            return sum;
          };
          const auto coarse_sum = [&](uint32_t q, uint32_t row) { return sum_of(queries[q], first, row); };
          const auto full_sum = [&](uint32_t q, uint32_t row) {
            return coarse_sum(q, row) * kernel.finer + sum_of(queries[q] + first, all, row);
          };
          CHECK((kernel.finer == 0) == prefix);
          int wrong = 0;
          for (uint32_t i = 0; i < found; ++i) {
            wrong += hits[i].sum != full_sum(hits[i].query, hits[i].row) || !(eligible >> hits[i].row & 1);
          }
          CHECK(wrong == 0);
          // Thresholds let through their own values and nothing below.
          if (found == 0) continue;
          const uint32_t row = hits[0].row;
          for (uint32_t q = 0; q < count; ++q) {
            thresholds[q] = {coarse_sum(q, row), full_sum(q, row)};
          }
          const uint32_t above =
              kernel.scan(tile, ~uint64_t{0}, queries.data(), count, thresholds.data(), hits.data());
          uint32_t expected = 0;
          for (uint32_t q = 0; q < count; ++q) {
            for (uint32_t r = 0; r < kTileRows; ++r) {
              expected += coarse_sum(q, r) >= thresholds[q].coarse && full_sum(q, r) >= thresholds[q].full;
            }
          }
          CHECK(above == expected);
        }
      }
    }
  });
}
