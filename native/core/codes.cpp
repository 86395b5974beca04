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
QueryCode encode_values(const T* values, uint32_t count, bool last_up, int limit, size_t bytes,
                        int8_t* codes) {
  double largest = 0;
  for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(static_cast<double>(values[i])));
  std::memset(codes, 0, bytes);
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

namespace {

// Writes 1024 rows' codes, integers of low…high, by `write(tile, step, row of the tile, four codes)`; sets
// the page's error and hat.
template <typename Write>
void encode_rows(const float* rows, uint32_t stride, uint32_t components, int low, int high, CodePage& page,
                 const Write& write) {
  const double inverse = 1 / page.scale;
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const float* x = rows + size_t{r} * stride;
    double error = 0, hat = 0;
    for (uint32_t step = 0; step * 4 < components; ++step) {
      int four[4];
      for (uint32_t i = 0; i < 4; ++i) {
        const double value = x[step * 4 + i];
        four[i] = std::clamp(nearest(value * inverse), low, high);
        const double back = page.scale * four[i];
        error += (value - back) * (value - back);
        hat += back * back;
      }
      write(r / kTileRows, step, r % kTileRows, four);
    }
    page.error = std::max(page.error, error);
    page.hat = std::max(page.hat, hat);
  }
  page.error = std::sqrt(page.error) * kUp;
  page.hat = std::sqrt(page.hat) * kUp;
}

}  // namespace

CodePage encode_bytes(const float* rows, uint32_t stride, uint32_t dimensions, const float* norms,
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
  encode_rows(rows, stride, dimensions, -127, 127, page,
              [&](uint32_t tile, uint32_t step, uint32_t row, const int* four) {
                uint8_t* to = codes + tile_bytes(POINTSMAN_BYTES, dimensions) * tile +
                              (size_t{step} * kTileRows + row) * 4;
                for (int i = 0; i < 4; ++i) to[i] = static_cast<uint8_t>(four[i] + 128);
              });
  return page;
}

CodePage encode_nibbles(const float* rows, uint32_t stride, uint32_t dimensions, const CodePage& bytes,
                        uint8_t* codes) {
  // Normal components want a scale that cuts off what is above 2.7 standard deviations, sparse rows one that
  // cuts off nothing.
  constexpr uint32_t kSample = 16;
  CodePage page{1, 0, 0, bytes.norm, bytes.min_handle};
  const double widest = bytes.scale * 127 / 7;
  double least = INFINITY;
  for (double scale = widest; scale > widest / 4; scale *= 0.85) {
    double worst = 0;
    for (uint32_t r = 0; r < kCodePage; r += kSample) {
      const float* x = rows + size_t{r} * stride;
      double error = 0;
      for (uint32_t j = 0; j < dimensions; ++j) {
        const double missed = x[j] - scale * std::clamp(nearest(x[j] / scale), -8, 7);
        error += missed * missed;
      }
      worst = std::max(worst, error);
    }
    if (worst < least) {
      least = worst;
      page.scale = scale;
    }
  }
  encode_rows(rows, stride, dimensions, -8, 7, page,
              [&](uint32_t tile, uint32_t step, uint32_t row, const int* four) {
                uint8_t* to = codes + tile_bytes(POINTSMAN_NIBBLES, dimensions) * tile +
                              (size_t{step / 2} * kTileRows + row) * 4;
                for (int i = 0; i < 4; ++i) {
                  const auto nibble = static_cast<uint8_t>(four[i] + 8);
                  to[i] = step % 2 == 0 ? nibble : static_cast<uint8_t>(to[i] | nibble << 4);
                }
              });
  return page;
}

QueryCode encode_query(const float* query, uint32_t dimensions, int limit, size_t bytes, int8_t* codes) {
  return encode_values(query, dimensions, false, limit, bytes, codes);
}

QueryCode encode_query_prefix(const double* prefix, int limit, int8_t* codes, double& norm) {
  double squares = 0;
  for (uint32_t i = 0; i < kPrefixComponents; ++i) squares += prefix[i] * prefix[i];
  norm = std::sqrt(squares) * kUp;
  QueryCode result = encode_values(prefix, kPrefixComponents, true, limit, kPrefixComponents, codes);
  if (result.step > 0) result.error += norm * 0x1p-36;  // of the prefix's own arithmetic
  return result;
}

}  // namespace pointsman
