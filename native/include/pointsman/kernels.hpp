// The one table through which the CPU engine calls its kernels: plain functions over raw pointers, one set of
// them for each instruction set. No standard templates here: what a header instantiates in a file compiled
// for one instruction set, the linker may keep for all.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pointsman/lanes.hpp"

namespace pointsman {

// Rows are float32, row-major, padded with zeros to a stride of a multiple of 16 and aligned to 64 bytes.
inline constexpr uint32_t kRowAlign = 16;
inline constexpr uint32_t stride_of(uint32_t dimensions) {
  return (dimensions + kRowAlign - 1) / kRowAlign * kRowAlign;
}

// Rows of one call of `scan` or `dots` at most. Callers pad the pointer list to a multiple of kRowTile with
// copies of a valid pointer; what the padding scores is discarded.
inline constexpr uint32_t kPageRows = 256;
inline constexpr uint32_t kRowTile = 8;

// Rows of one tile of codes, see codes.hpp.
inline constexpr uint32_t kTileRows = 64;

// Steps of a short prefix, see codes.hpp.
inline constexpr uint32_t kShortSteps = 5;

// A row whose approximate score reached its query's threshold.
struct Hit {
  float score;     // as the kernel summed it
  uint16_t row;    // index into `rows`
  uint16_t query;  // index into the panel
};

// The same for codes.
struct CodeHit {
  int32_t sum;     // exact: the full one
  uint16_t row;    // of the tile
  uint16_t query;  // index into `queries`
};

// The sums below which a row is excluded: by a query's coarse codes, and by its full ones.
struct CodeThreshold {
  int32_t coarse, full;
};

// The codes of 64 rows: `steps` groups of 4 bytes of each for a first look, which the next tile's follow in
// memory, and `more_steps` that only the second look is at, too.
struct CodeTile {
  const uint8_t* codes;
  uint32_t steps;
  const uint8_t* more;
  uint32_t more_steps;
};

// How large the codes of a query may be.
struct CodeLimits {
  int single;  // each
  // Codes whose products share sums of 16 bits, 0: none do. In such a block, from a code whose number is a
  // multiple of it on, neither half of the codes (of each four the first two, the last two) may exceed `half`
  // in the sum of their magnitudes.
  uint32_t block;
  int half;
};

// The scan over one coding of the rows (codes.hpp). A query has two sets of codes: all rows are summed
// against the coarse ones, and those that their threshold leaves against the rest, too; the full sum is
// coarse·finer + rest.
struct CodeKernel {
  CodeLimits coarse;  // {}: there is no such kernel
  CodeLimits rest;    // without blocks
  int zero;  // the row code that stands for 0 in the sums: they are Σ c·u where Σ c·(u − zero) is meant
  int finer;  // at most 2·rest.single; full sums fit into 32 bits

  // Sums the codes of one tile against those of each of `count` queries (at queries[i] the coarse ones for
  // its first steps, after them the rest for all), and writes each (row, query) with its bit in `eligible`
  // and sums that reach its query's thresholds to `hits` (room for 64·count), returning how many.
  uint32_t (*scan)(const CodeTile& tile, uint64_t eligible, const int8_t* const* queries, uint32_t count,
                   const CodeThreshold* thresholds, CodeHit* hits);
};

// Of a row and its codes, in float32 and in steps of the scale: Σ (x·inverse − code)² and Σ code².
struct RowError {
  float missed, coded;
};

struct Kernels {
  const char* isa;
  uint32_t lanes;        // queries in one vector
  uint32_t max_vectors;  // vectors of queries in the widest panel

  // Scores `count` ≤ kPageRows rows against a panel of `width` = lanes·v queries, v ≤ max_vectors, stored as
  // panel[j·width + query] for j < dimensions, and writes each (row, query) with score ≥ thresholds[query] to
  // `hits` (room for kPageRows·width), returning how many. Summation order is the kernel's own; the error is
  // at most score_error(dimensions) (see bound.hpp) times the two norms.
  uint32_t (*scan)(const float* const* rows, uint32_t count, const float* panel, uint32_t width,
                   uint32_t dimensions, const float* thresholds, Hit* hits);

  // out[i] ≈ ⟨rows[i], query⟩ with the same error bound; for batches too small to fill a panel.
  void (*dots)(const float* const* rows, uint32_t count, const float* query, uint32_t stride, float* out);

  // The score that the engine promises: the float64 sum of the products in eight lanes, lane j adding the
  // terms i ≡ j mod 8 in rising i from +0, folded as ((0+4)+(2+6))+((1+5)+(3+7)), −0 made +0, rounded to
  // float32. Products of two float32 are exact in float64, so fusing changes nothing and every instruction
  // set returns the same bits.
  float (*exact)(const float* a, const float* b, uint32_t stride);

  // The codes of a row: the nearest integers of low…high to x·inverse. The same on every instruction set.
  RowError (*code_row)(const float* row, uint32_t stride, float inverse, float low, float high,
                       int8_t* codes);

  // By coding. All or none of them: where a processor has no kernel for codes, rows are scanned in float32.
  CodeKernel codings[3];
};

}  // namespace pointsman
