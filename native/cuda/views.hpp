// What kernels and host share: plain structures over device memory.
//
// The rows of a search are numbered through units of 1024: a unit is a page of codes (codes.hpp), or the rows
// behind the last full page of a block, which have none. Units without codes come first in an image's list.
#pragma once

#include <cstdint>

#include "pointsman/codes.hpp"

namespace pointsman::cuda {

inline constexpr uint32_t kTiles = kCodePage / kTileRows;  // of a unit

struct Unit {
  const uint8_t* codes;      // bytes, in tiles; null: the unit has none
  const float* rows;         // count × stride; null: they are on the host
  const uint32_t* handles;   // of each row
  const uint64_t* dead;      // bit i: row i is not there; null: none
  double scale, error, hat;  // of pointsman_code_page
  float norm;
  uint32_t min_handle;
  uint32_t count;  // rows
};

// One query's codes as thresholds need them (cpu/batch.hpp has the same).
struct CodedQuery {
  double norm;          // ≥ ‖q‖
  double error;         // ≥ ‖q − q̂‖
  double step;          // 0 for a zero query
  double inverse_step;  // 1 / step
  double offset;        // what a sum exceeds Σ c·(u − 128) by
};

// A row that may be among a query's k best, with what its score is known to lie between.
struct alignas(16) Candidate {
  float lower, upper;  // equal: this is the score
  uint32_t row;        // 1024 · unit + place
  uint32_t handle;
};

// Of one query, as far as the units that were looked at.
struct QueryState {
  float tau;       // k rows reach this score; −∞: not known yet
  uint32_t worst;  // of rows with just this score, those with a higher handle are out; UINT32_MAX: not known
  uint32_t count;  // candidates appended; more than the capacity: some were lost
  uint32_t kept;   // of these, found before the current range of units
  uint32_t stopped;  // nonzero: nothing is scanned for it; set where candidates were lost
};

// Queries' codes lie as mma.m16n8k32 takes its second operand: eight queries × 32 components at a time, as
// two words for each of 32 lanes. Lane 4·(query % 8) + (step % 4) has steps s and s + 4 of a chunk of 8
// steps.
inline constexpr uint32_t kFragmentQueries = 8;
inline constexpr uint32_t kChunkSteps = 8;
struct alignas(8) Words {
  uint32_t low, high;
};
inline constexpr uint32_t chunks_of(uint32_t dimensions) {
  return (coding_steps(POINTSMAN_BYTES, dimensions) + kChunkSteps - 1) / kChunkSteps;
}

// What a scan of a range of units works on.
struct Scan {
  const Unit* units;
  const uint32_t* list;       // numbers of the units to look at; null: 0, 1, 2, …
  const uint64_t* eligible;   // kTiles words a unit, bit i: row i of the tile; null: all rows
  const CodedQuery* queries;  // query_count
  const Words* codes;         // [query / 8][chunk][32], zeros past query_count up to a whole group of 8
  const float* vectors;       // query_count × stride
  QueryState* states;
  Candidate* candidates;  // query_count × capacity
  uint32_t capacity;
  uint32_t query_count;
  uint32_t dimensions;
  uint32_t steps;   // coding_steps of these dimensions
  uint32_t chunks;  // chunks_of them
  uint32_t stride;
};

// How candidates are cut down after a scan.
struct Selection {
  const Unit* units;
  const float* vectors;
  QueryState* states;
  Candidate* candidates;
  uint32_t capacity;
  uint32_t query_count;
  uint32_t stride;
  uint32_t k;
  uint32_t settle_from;  // more candidates than these are scored exactly and cut to k; UINT32_MAX: never
  // Not null: the k best are written, best first: scores and handles, query_count × k; state.count of them.
  float* scores;
  uint32_t* handles;
};

}  // namespace pointsman::cuda
