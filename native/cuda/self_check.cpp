#include "cuda/self_check.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda/host_score.hpp"
#include "cuda/kernels.hpp"
#include "pointsman/hash.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman::cuda {
namespace {

constexpr uint32_t kDimensions = 45, kStride = stride_of(kDimensions);
constexpr uint32_t kPages = 2, kRows = kPages * kCodePage + 300, kQueries = 21, kResults = 12;
constexpr uint32_t kCopies = 7;  // of every row: ties are to be ordered

struct Made {
  std::vector<float> rows, norms, queries, query_norms;
  std::vector<uint32_t> handles;
  std::vector<uint8_t> codes;
  std::vector<pointsman_code_page> pages;
};

float norm_of(const float* vector) {
  double squares = 0;
  for (uint32_t i = 0; i < kDimensions; ++i) squares += static_cast<double>(vector[i]) * vector[i];
  return static_cast<float>(std::sqrt(squares) * (1 + 0x1p-20));
}

// Numbers in −1…1, the same everywhere.
std::vector<float> numbers(uint32_t count, uint32_t copies, uint64_t seed) {
  std::vector<float> vectors(size_t{count} * kStride);
  for (uint32_t r = 0; r < count; ++r) {
    for (uint32_t i = 0; i < kDimensions; ++i) {
      const uint64_t bits = mix64(seed + uint64_t{r / copies} * kDimensions + i);
      vectors[size_t{r} * kStride + i] = static_cast<float>(static_cast<double>(bits >> 11) * 0x1p-52 - 1);
    }
  }
  return vectors;
}

// The plainest codes that keep what codes.hpp promises.
pointsman_code_page encode(const Made& made, uint32_t page, uint8_t* codes) {
  pointsman_code_page result{1.0 / 127, 0, 0, 0, UINT32_MAX};
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const uint32_t row = page * kCodePage + r;
    double error = 0, hat = 0;
    for (uint32_t i = 0; i < coding_steps(POINTSMAN_BYTES, kDimensions) * 4; ++i) {
      const double value = made.rows[size_t{row} * kStride + i];
      const double code = std::nearbyint(value * 127), back = code / 127;
      codes[place_of(r, i / 4, POINTSMAN_BYTES, kDimensions) + i % 4] =
          static_cast<uint8_t>(static_cast<int>(code) + 128);
      error += (value - back) * (value - back);
      hat += back * back;
    }
    result.error = std::max(result.error, std::sqrt(error) * (1 + 0x1p-30));
    result.hat = std::max(result.hat, std::sqrt(hat) * (1 + 0x1p-30));
    result.norm = std::max(result.norm, made.norms[row]);
    result.min_handle = std::min(result.min_handle, made.handles[row]);
  }
  return result;
}

Made make() {
  Made made;
  made.rows = numbers(kRows, kCopies, 1);
  made.queries = numbers(kQueries, 1, 1'000'000);
  std::fill_n(made.queries.begin() + kStride, kStride, 0.0f);
  for (uint32_t r = 0; r < kRows; ++r) {
    made.norms.push_back(norm_of(&made.rows[size_t{r} * kStride]));
    made.handles.push_back(kRows - 1 - r);
  }
  for (uint32_t q = 0; q < kQueries; ++q)
    made.query_norms.push_back(norm_of(&made.queries[size_t{q} * kStride]));
  made.codes.resize(kPages * page_bytes(POINTSMAN_BYTES, kDimensions));
  for (uint32_t p = 0; p < kPages; ++p) {
    made.pages.push_back(encode(made, p, made.codes.data() + p * page_bytes(POINTSMAN_BYTES, kDimensions)));
  }
  return made;
}

}  // namespace

void check_itself(Engine& engine) {
  constexpr uint64_t kBlock = UINT64_MAX;
  const Made made = make();
  pointsman_block block{};
  block.id = kBlock;
  block.rows = made.rows.data();
  block.norms = made.norms.data();
  block.handles = made.handles.data();
  block.capacity = block.count = kRows;
  block.codings[POINTSMAN_BYTES] = {made.codes.data(), made.pages.data()};
  std::vector<float> scores(kQueries * kResults);
  std::vector<uint32_t> handles(kQueries * kResults), counts(kQueries);
  pointsman_request request{};
  request.blocks = &block;
  request.block_count = 1;
  request.dimensions = kDimensions;
  request.stride = kStride;
  request.queries = made.queries.data();
  request.query_norms = made.query_norms.data();
  request.query_count = kQueries;
  request.codings = 1u << POINTSMAN_BYTES;
  request.k = kResults;
  request.threads = 1;
  request.cancelled = [](const void*) { return 0; };
  request.scores = scores.data();
  request.handles = handles.data();
  request.counts = counts.data();

  std::vector<std::vector<Candidate>> expected(kQueries);
  for (uint32_t q = 0; q < kQueries; ++q) {
    for (uint32_t r = 0; r < kRows; ++r) {
      const float score =
          host_score(&made.rows[size_t{r} * kStride], &made.queries[size_t{q} * kStride], kStride);
      expected[q].push_back({score, score, r, made.handles[r]});
    }
    best_of(expected[q], {}, nullptr, kStride, kResults);
  }
  for (uint32_t i = 0; i < kScanKernelCount; ++i) {
    engine.search(request, kScanKernels[i].name);
    for (uint32_t q = 0; q < kQueries; ++q) {
      for (uint32_t n = 0; n < kResults; ++n) {
        const Candidate& wanted = expected[q][n];
        const uint32_t at = q * kResults + n;
        if (counts[q] == kResults && handles[at] == wanted.handle && scores[at] == wanted.lower) continue;
        engine.forget(kBlock);
        throw Error(Code::BACKEND_UNAVAILABLE, "self-check failed on " + engine.device().description() +
                                                   ": kernel " + kScanKernels[i].name + " answers query " +
                                                   std::to_string(q) + " otherwise than the definition");
      }
    }
  }
  engine.forget(kBlock);
}

}  // namespace pointsman::cuda
