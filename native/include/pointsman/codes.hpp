// Certified low precision: rows and queries as 8-bit codes with a proven bound on what the codes can hide.
//
// Rows of a page of 1024 share one scale: x̂ = scale·(u − 128) with u in 1…255. Queries have their own:
// q̂ = step·c with c in −limit…limit. With x = x̂ + e_x and q = q̂ + e_q,
//   ⟨q,x⟩ = ⟨q̂,x̂⟩ + ⟨q,e_x⟩ + ⟨e_q,x̂⟩ ≤ step·scale·Σ c·(u − 128) + ‖q‖·‖e_x‖ + ‖e_q‖·‖x̂‖   (Cauchy–Schwarz).
// The sum of codes is an exact integer, so a row can be excluded by one integer comparison, as soon as the
// sum is below (τ − ‖q‖·error − ‖e_q‖·hat) / (step·scale), where error and hat are the largest of the page.
// Everything else here is float64 and rounds towards keeping rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pointsman/backend.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

// Rows that share a scale.
inline constexpr uint32_t kCodePage = 1024;

// Codes lie in tiles of 64 rows, four dimensions at a time: tile[step][row][4]. `steps_of` dimensions,
// padded.
inline constexpr uint32_t steps_of(uint32_t dimensions) { return (dimensions + 3) / 4; }
inline constexpr size_t tile_bytes(uint32_t dimensions) {
  return size_t{steps_of(dimensions)} * kTileRows * 4;
}
inline constexpr size_t page_bytes(uint32_t dimensions) {
  return tile_bytes(dimensions) * (kCodePage / kTileRows);
}

// scale > 0, error ≥ max ‖x − x̂‖, hat ≥ max ‖x̂‖, norm ≥ max ‖x‖, min_handle of its rows.
using CodePage = pointsman_code_page;

// Encodes 1024 rows. `codes` gets page_bytes(dimensions).
CodePage encode_page(const float* rows, uint32_t stride, uint32_t dimensions, const float* norms,
                     const uint32_t* handles, uint8_t* codes);

struct QueryCode {
  double step;       // 0 for a zero query
  double error;      // ≥ ‖q − q̂‖
  int32_t code_sum;  // Σ c, for kernels that sum c·u
};

// Encodes one query with |c| ≤ limit. `codes` gets 4·steps_of(dimensions) bytes.
QueryCode encode_query(const float* query, uint32_t dimensions, int limit, int8_t* codes);

// ---- the prefix: an upper bound in fewer dimensions, see core/rotation.hpp ----

// Components of a prefix, the last one the norm of what the others leave out. Chosen on clustered data of
// rank 32 (docs/performance.md): fewer leave too many rows, more cost more than they exclude.
inline constexpr uint32_t kPrefixComponents = 24;

// Encodes a query's prefix with |c| ≤ limit. `codes` gets 4·steps_of(kPrefixComponents) bytes, `norm` the
// prefix's norm.
QueryCode encode_query_prefix(const double* prefix, int limit, int8_t* codes, double& norm);

}  // namespace pointsman
