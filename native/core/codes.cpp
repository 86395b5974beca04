#include "pointsman/codes.hpp"
#include "pointsman/index.hpp"
#include "pointsman/isa.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace pointsman {
namespace {

// More than the rounding of a float64 sum of 4096 squares and its root.
constexpr double kUp = 1 + 0x1p-38;

int nearest(double x) { return static_cast<int>(x + (x < 0 ? -0.5 : 0.5)); }

// The least step with which codes of these values keep to the limits, however they are rounded; 0 when all
// values are.
template <typename T>
double least_step(std::span<const T> values, const CodeLimits& limits) {
  double largest = 0;
  for (const T value : values) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  const size_t block = limits.block;
  double step = largest / limits.single;
  if (block == 0) return step;
  // Of a half, block / 2 codes, each is rounded by half a unit, one up by a whole one, or each twice, the
  // second time by a small part of it.
  const double room = limits.half - 0.275 * static_cast<double>(block) - 0.6;
  for (size_t start = 0; start < values.size(); start += block) {
    const size_t end = std::min(values.size(), start + block);
    double halves[2] = {};
    for (size_t i = start; i < end; ++i) halves[i / 2 % 2] += std::fabs(static_cast<double>(values[i]));
    step = std::max(step, std::max(halves[0], halves[1]) / room);
  }
  return step;
}

// The codes of a prefix of one length, whose last number, the rest, is not negative and is rounded up: then
// it hides nothing.
QueryStep encode_prefix(std::span<const double> prefix, const CodeLimits& limits, int8_t* codes) {
  std::memset(codes, 0, prefix.size());
  QueryStep result{};
  result.step = least_step(prefix, limits);
  if (result.step == 0) return result;
  const double inverse = 1 / result.step;
  double error = 0;
  for (size_t i = 0; i < prefix.size(); ++i) {
    const bool up = i + 1 == prefix.size();
    const double x = prefix[i] * inverse;
    const int code =
        std::clamp(up ? static_cast<int>(std::ceil(x)) : nearest(x), -limits.single, limits.single);
    codes[i] = static_cast<int8_t>(code);
    result.sum += code;
    const double missed = prefix[i] - result.step * code;
    if (!up || missed > 0) error += missed * missed;
  }
  result.error = std::sqrt(error) * kUp;
  return result;
}

// So small a scale that its inverse is a float32, too, and squares of what a row's codes miss of it are not
// lost.
constexpr double kLeastScale = 0x1p-120;

float inverse_of(double scale) { return static_cast<float>(1 / scale); }

// Codes 1024 rows, which `write(row, codes)` puts into tiles; sets the page's error and hat.
//
// Kernels count in float32, in steps of the scale. With the rounding of the scale's inverse a component is
// off by 2⁻²³ of itself at most (or by 2⁻¹⁴⁹), so a row by 2⁻²³ of its codes and as much of what they miss;
// the sum of 4096 squares in eight lanes by 2⁻¹⁴ of itself, and by what underflows, less than 2⁻⁵⁰ in the
// root. The codes of a row with the largest component are 7 at least, so their 2⁻²² cover all that is not in
// proportion to what is missed (with the least scale they may be 0, but then nothing underflows). Sums of
// squares of codes are exact in each lane.
template <typename Write>
void code_rows(const float* rows, uint32_t stride, float low, float high, CodePage& page,
               const Write& write) {
  alignas(64) int8_t codes[stride_of(kMaxDimensions)];
  const auto code_row = active_kernels().code_row;
  const float inverse = inverse_of(page.scale);
  float missed = 0, coded = 0;
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const RowError row = code_row(rows + size_t{r} * stride, stride, inverse, low, high, codes);
    missed = std::max(missed, row.missed);
    coded = std::max(coded, row.coded);
    write(r, codes);
  }
  const double steps = std::sqrt(static_cast<double>(coded)) * (1 + 0x1p-22);
  page.error = page.scale * (std::sqrt(static_cast<double>(missed)) * (1 + 0x1p-13) + steps * 0x1p-22);
  page.hat = page.scale * steps;
}

uint32_t four_codes(const int8_t* codes) {
  uint32_t four;
  std::memcpy(&four, codes, 4);
  return four;
}

}  // namespace

CodePage encode_bytes(const float* rows, uint32_t stride, uint32_t dimensions, const float* norms,
                      const uint32_t* handles, uint8_t* codes) {
  CodePage page{1, 0, 0, 0, UINT32_MAX};
  float largest[8] = {};
  for (uint32_t r = 0; r < kCodePage; ++r) {
    const float* x = rows + size_t{r} * stride;
    for (uint32_t j = 0; j < stride; j += 8) {
      for (uint32_t lane = 0; lane < 8; ++lane)
        largest[lane] = std::max(largest[lane], std::fabs(x[j + lane]));
    }
    page.norm = std::max(page.norm, norms[r]);
    page.min_handle = std::min(page.min_handle, handles[r]);
  }
  const double most = *std::max_element(largest, largest + 8);
  if (most > 0) page.scale = std::max(most / 127, kLeastScale);
  code_rows(rows, stride, -127, 127, page, [&](uint32_t row, const int8_t* four) {
    uint8_t* to = codes + place_of(row, 0, POINTSMAN_BYTES, dimensions);
    for (uint32_t step = 0; step < coding_steps(POINTSMAN_BYTES, dimensions);
         ++step, four += 4, to += kTileRows * 4) {
      const uint32_t u = four_codes(four) ^ 0x80808080;  // + 128
      std::memcpy(to, &u, 4);
    }
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
  alignas(64) int8_t unused[stride_of(kMaxDimensions)];
  const auto code_row = active_kernels().code_row;
  for (double scale = widest; scale > widest / 4; scale *= 0.85) {
    double worst = 0;
    for (uint32_t r = 0; r < kCodePage && worst < least; r += kSample) {
      const float missed =
          code_row(rows + size_t{r} * stride, stride, inverse_of(scale), -8, 7, unused).missed;
      worst = std::max(worst, scale * scale * static_cast<double>(missed));
    }
    if (worst < least) {
      least = worst;
      page.scale = scale;
    }
  }
  code_rows(rows, stride, -8, 7, page, [&](uint32_t row, const int8_t* eight) {
    uint8_t* to = codes + place_of(row, 0, POINTSMAN_NIBBLES, dimensions);
    for (uint32_t step = 0; step < coding_steps(POINTSMAN_NIBBLES, dimensions);
         ++step, eight += 8, to += kTileRows * 4) {
      const auto nibbles = [](uint32_t four) { return (four ^ 0x08080808) & 0x0F0F0F0F; };  // + 8
      const uint32_t u = nibbles(four_codes(eight)) | nibbles(four_codes(eight + 4)) << 4;
      std::memcpy(to, &u, 4);
    }
  });
  return page;
}

QueryCode encode_query(const float* query, uint32_t dimensions, const CodeKernel& kernel, size_t bytes,
                       int8_t* codes) {
  std::memset(codes, 0, 2 * bytes);
  QueryCode result{};
  const double step = least_step(std::span(query, dimensions), kernel.coarse) / kernel.finer;
  if (step == 0) return result;
  const int limit = kernel.coarse.single * kernel.finer;
  result.full.step = step;
  const double coarse_step = result.coarse.step = step * kernel.finer;
  const double inverse = 1 / step, inverse_finer = 1.0 / kernel.finer;
  double error = 0, coarse_error = 0;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const int code = std::clamp(nearest(query[i] * inverse), -limit, limit);
    const int coarse = nearest(code * inverse_finer);
    codes[i] = static_cast<int8_t>(coarse);
    codes[bytes + i] = static_cast<int8_t>(code - coarse * kernel.finer);
    result.full.sum += code;
    result.coarse.sum += coarse;
    const double missed = query[i] - step * code, coarse_missed = query[i] - coarse_step * coarse;
    error += missed * missed;
    coarse_error += coarse_missed * coarse_missed;
  }
  result.full.error = std::sqrt(error) * kUp;
  result.coarse.error = std::sqrt(coarse_error) * kUp;
  return result;
}

QueryCode encode_query_prefix(const double* prefix, const CodeKernel& kernel, int8_t* codes, double& norm) {
  // The second look is at all numbers but the short prefix's rest.
  double all[kPrefixComponents];
  std::copy_n(prefix, kPrefixComponents, all);
  all[kShortPrefix - 1] = 0;
  const auto squares = [](std::span<const double> values) {
    double sum = 0;
    for (const double value : values) sum += value * value;
    return sum;
  };
  const std::span<const double> first(prefix, kShortPrefix), second(all, kPrefixComponents);
  norm = std::sqrt(std::max(squares(first), squares(second))) * kUp;
  QueryCode result{encode_prefix(first, kernel.coarse, codes),
                   encode_prefix(second, kernel.rest, codes + kShortPrefix)};
  result.coarse.error += norm * 0x1p-36;  // of the prefix's own arithmetic; nothing for a zero query
  result.full.error += norm * 0x1p-36;
  return result;
}

}  // namespace pointsman
