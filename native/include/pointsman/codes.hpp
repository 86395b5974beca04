// Certified low precision: rows and queries as small integers with a proven bound on what these can hide.
//
// Rows of a page of 1024 share one scale: x̂ = scale·(u − zero). Queries have their own: q̂ = step·c, c an
// integer. With x = x̂ + e_x and q = q̂ + e_q,
//   ⟨q,x⟩ = ⟨q̂,x̂⟩ + ⟨q,e_x⟩ + ⟨e_q,x̂⟩ = step·scale·Σ c·(u − zero) ± (‖q‖·‖e_x‖ + ‖e_q‖·‖x̂‖) (Cauchy–Schwarz).
// The sum of codes is an exact integer, so a row can be excluded by one integer comparison, as soon as the
// sum is below (τ − ‖q‖·error − ‖e_q‖·hat) / (step·scale), where error and hat are the largest of the page.
// Everything else here rounds towards keeping rows.
//
// Queries are coded twice: coarsely, as kernels can sum fast, to exclude nearly all rows, and finely (c =
// coarse·finer + rest) for a second look at the others, whose bounds then owe next to nothing to the query.
// The second look at a prefix is at more numbers, too, and stands on its own (finer = 0: c = rest).
//
// There are three codings. Bytes: u in 1…255, zero 128; the scale holds the largest component. Nibbles: u in
// 0…15, zero 8, half of the memory for searches that are bound by reading it; the scale is the one that
// leaves the smallest error in a sample of the rows, components beyond it are cut off. Prefix: bytes of the
// few numbers that core/rotation.hpp makes of a row, whose inner product is an upper bound: the first of them
// of a loose one, for the first look, the others (and all but one of the first) of a closer one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pointsman/backend.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

// Rows that share a scale.
inline constexpr uint32_t kCodePage = 1024;

// Codes lie in tiles of 64 rows, four bytes of a row at a time: tile[step][row][4]. A step of bytes is four
// dimensions, one of nibbles eight: the low nibbles of its four bytes, then the high ones. A page of prefixes
// has tiles of the first numbers, which are read in a row, and then tiles of the others.
inline constexpr uint32_t kPrefixComponents = 32;
inline constexpr uint32_t kShortPrefix = 4 * kShortSteps;
inline constexpr uint32_t coding_steps(uint32_t coding, uint32_t dimensions) {
  return coding == POINTSMAN_PREFIX    ? kPrefixComponents / 4
         : coding == POINTSMAN_NIBBLES ? (dimensions + 7) / 8
                                       : (dimensions + 3) / 4;
}
inline constexpr size_t page_bytes(uint32_t coding, uint32_t dimensions) {
  return size_t{coding_steps(coding, dimensions)} * kCodePage * 4;
}
// Steps of the first look; the others lie in tiles of their own, behind those of the whole page.
inline constexpr uint32_t first_steps(uint32_t coding, uint32_t dimensions) {
  return coding == POINTSMAN_PREFIX ? kShortPrefix / 4 : coding_steps(coding, dimensions);
}
// Where the four bytes of a row's step are in its page.
inline constexpr size_t place_of(uint32_t row, uint32_t step, uint32_t coding, uint32_t dimensions) {
  const uint32_t first = first_steps(coding, dimensions), more = coding_steps(coding, dimensions) - first;
  const size_t tile = row / kTileRows, in_tile = row % kTileRows * size_t{4};
  if (step < first) return (tile * first + step) * kTileRows * 4 + in_tile;
  return size_t{first} * kCodePage * 4 + (tile * more + step - first) * kTileRows * 4 + in_tile;
}
inline CodeTile tile_of(const uint8_t* page, uint32_t tile, uint32_t coding, uint32_t dimensions) {
  const uint32_t first = first_steps(coding, dimensions), row = tile * kTileRows;
  return {page + place_of(row, 0, coding, dimensions), first, page + place_of(row, first, coding, dimensions),
          coding_steps(coding, dimensions) - first};
}
// A set of a query's codes for so many steps, one a component, zeros up to a whole step.
inline constexpr size_t query_bytes(uint32_t coding, uint32_t steps) {
  return size_t{steps} * (coding == POINTSMAN_NIBBLES ? 8 : 4);
}

// scale > 0, error ≥ max ‖x − x̂‖, hat ≥ max ‖x̂‖, norm ≥ max ‖x‖, min_handle of its rows.
using CodePage = pointsman_code_page;

// Encodes 1024 rows, zero-padded to a stride of at least a whole step of any coding. `codes` gets
// page_bytes(POINTSMAN_BYTES or POINTSMAN_NIBBLES, dimensions).
CodePage encode_bytes(const float* rows, uint32_t stride, uint32_t dimensions, const float* norms,
                      const uint32_t* handles, uint8_t* codes);
CodePage encode_nibbles(const float* rows, uint32_t stride, uint32_t dimensions, const CodePage& bytes,
                        uint8_t* codes);

// What a set of codes makes of a query.
struct QueryStep {
  double step;   // q̂ = step·c; 0 for a zero query
  double error;  // ≥ ‖q − q̂‖
  int32_t sum;   // Σ c, for kernels that sum c·u
};

struct QueryCode {
  QueryStep coarse, full;
};

// Encodes one query for a kernel. `codes` gets 2·`bytes` (query_bytes), at least one a dimension: the coarse
// codes, then the rest.
QueryCode encode_query(const float* query, uint32_t dimensions, const CodeKernel& kernel, size_t bytes,
                       int8_t* codes);

// The same of a query's prefix (kPrefixComponents numbers): kShortPrefix coarse codes, then kPrefixComponents
// fine ones. `norm` gets a bound on the norms of both.
QueryCode encode_query_prefix(const double* prefix, const CodeKernel& kernel, int8_t* codes, double& norm);

}  // namespace pointsman
