#include "pointsman/codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace pointsman {
namespace {

// More than the rounding of a float64 sum of 4096 squares and its root.
constexpr double kUp = 1 + 0x1p-38;

}  // namespace

CodePage encode_page(const float* rows, uint32_t stride, uint32_t dimensions, const float* norms,
                     const uint32_t* handles, uint8_t* codes) {
  CodePage page{1, 0, 0, 0, UINT32_MAX};
  float largest = 0;
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const float* x = rows + size_t{r} * stride;
    float row_largest = 0;
    for (uint32_t j = 0; j < stride; ++j) row_largest = std::max(row_largest, std::fabs(x[j]));
    largest = std::max(largest, row_largest);
    page.norm = std::max(page.norm, norms[r]);
    page.min_handle = std::min(page.min_handle, handles[r]);
  }
  if (largest > 0) page.scale = static_cast<double>(largest) / 127;

  const double inverse = 1 / page.scale;
  const uint32_t steps = steps_of(dimensions);
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const float* x = rows + size_t{r} * stride;
    uint8_t* tile = codes + tile_bytes(dimensions) * (r / kTileRows) + size_t{r % kTileRows} * 4;
    double error = 0, hat = 0;
    for (uint32_t step = 0; step < steps; ++step) {
      uint8_t four[4];
      for (uint32_t i = 0; i < 4; ++i) {
        // Rows are padded with zeros to their stride, which is a multiple of four.
        const double value = x[step * 4 + i];
        const double scaled = value * inverse;
        const int code = std::clamp(static_cast<int>(scaled + (scaled < 0 ? -0.5 : 0.5)), -127, 127);
        const double back = page.scale * code;
        error += (value - back) * (value - back);
        hat += back * back;
        four[i] = static_cast<uint8_t>(code + 128);
      }
      std::memcpy(tile + size_t{step} * kTileRows * 4, four, 4);
    }
    page.error = std::max(page.error, error);
    page.hat = std::max(page.hat, hat);
  }
  page.error = std::sqrt(page.error) * kUp;
  page.hat = std::sqrt(page.hat) * kUp;
  return page;
}

QueryCode encode_query(const float* query, uint32_t dimensions, int limit, int8_t* codes) {
  float largest = 0;
  for (uint32_t j = 0; j < dimensions; ++j) largest = std::max(largest, std::fabs(query[j]));
  std::memset(codes, 0, size_t{steps_of(dimensions)} * 4);
  QueryCode result{0, 0, 0};
  if (largest == 0) return result;
  result.step = static_cast<double>(largest) / limit;
  double error = 0;
  for (uint32_t j = 0; j < dimensions; ++j) {
    const double scaled = query[j] / result.step;
    const int code = std::clamp(static_cast<int>(scaled + (scaled < 0 ? -0.5 : 0.5)), -limit, limit);
    codes[j] = static_cast<int8_t>(code);
    result.code_sum += code;
    const double missed = query[j] - result.step * code;
    error += missed * missed;
  }
  result.error = std::sqrt(error) * kUp;
  return result;
}

QueryCode encode_query_prefix(const double* prefix, int limit, int8_t* codes, double& norm) {
  double largest = 0, squares = 0;
  for (uint32_t i = 0; i < kPrefixComponents; ++i) {
    largest = std::max(largest, std::fabs(prefix[i]));
    squares += prefix[i] * prefix[i];
  }
  norm = std::sqrt(squares) * kUp;
  std::memset(codes, 0, size_t{steps_of(kPrefixComponents)} * 4);
  QueryCode result{0, 0, 0};
  if (largest == 0) return result;
  result.step = largest / limit;
  double error = 0;
  for (uint32_t i = 0; i < kPrefixComponents; ++i) {
    const double scaled = prefix[i] / result.step;
    // The rest is rounded up: then it hides nothing.
    const bool rest = i + 1 == kPrefixComponents;
    const int code =
        std::clamp(static_cast<int>(rest ? std::ceil(scaled) : std::nearbyint(scaled)), -limit, limit);
    codes[i] = static_cast<int8_t>(code);
    result.code_sum += code;
    const double missed = prefix[i] - result.step * code;
    if (!rest || missed > 0) error += missed * missed;
  }
  result.error = std::sqrt(error) * kUp + norm * 0x1p-36;
  return result;
}

}  // namespace pointsman
