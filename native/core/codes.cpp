#include "pointsman/codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace pointsman {
namespace {

// More than the rounding of a float64 sum of 4096 squares and its root.
constexpr double kUp = 1 + 0x1p-38;

int nearest(double x) { return static_cast<int>(x + (x < 0 ? -0.5 : 0.5)); }

// Codes of a query's components, zero up to a whole step. With `last_up` the last component, which is not
// negative, is rounded up: then it hides nothing.
template <typename T>
QueryCode encode_values(const T* values, uint32_t count, bool last_up, int limit, int8_t* codes) {
  double largest = 0;
  for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(static_cast<double>(values[i])));
  std::memset(codes, 0, size_t{steps_of(count)} * 4);
  QueryCode result{0, 0, 0};
  if (largest == 0) return result;
  result.step = largest / limit;
  double error = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const bool up = last_up && i + 1 == count;
    const double scaled = values[i] / result.step;
    const int code = std::clamp(up ? static_cast<int>(std::ceil(scaled)) : nearest(scaled), -limit, limit);
    codes[i] = static_cast<int8_t>(code);
    result.code_sum += code;
    const double missed = values[i] - result.step * code;
    if (!up || missed > 0) error += missed * missed;
  }
  result.error = std::sqrt(error) * kUp;
  return result;
}

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
        const int code = std::clamp(nearest(scaled), -127, 127);
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
  return encode_values(query, dimensions, false, limit, codes);
}

QueryCode encode_query_prefix(const double* prefix, int limit, int8_t* codes, double& norm) {
  double squares = 0;
  for (uint32_t i = 0; i < kPrefixComponents; ++i) squares += prefix[i] * prefix[i];
  norm = std::sqrt(squares) * kUp;
  QueryCode result = encode_values(prefix, kPrefixComponents, true, limit, codes);
  if (result.step > 0) result.error += norm * 0x1p-36;  // of the prefix's own arithmetic
  return result;
}

}  // namespace pointsman
