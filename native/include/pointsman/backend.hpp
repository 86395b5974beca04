// What a backend is: a table of C functions that answers searches over immutable blocks. The CPU's is linked
// in; others (CUDA) are plugins found at run time. Only core/backends.cpp knows which exist.
//
// A backend holds no index: every request names the blocks of the version it searches. Blocks carry an id
// that is never reused, so a backend with memory of its own may keep copies by id and drop them on `forget`.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define POINTSMAN_BACKEND_ABI 2

#ifdef __cplusplus
extern "C" {
#endif

// One page of 1024 rows as low-precision codes; what the fields mean stands in codes.hpp.
typedef struct pointsman_code_page {
  double scale;
  double error;
  double hat;
  float norm;
  uint32_t min_handle;
} pointsman_code_page;

// The full pages of a block in one coding: as many as count / 1024.
typedef struct {
  const uint8_t* codes;  // null: the block has none
  const pointsman_code_page* pages;
} pointsman_codes;

// The codings of a block, from the finest to the cheapest (codes.hpp).
enum { POINTSMAN_BYTES, POINTSMAN_NIBBLES, POINTSMAN_PREFIX, POINTSMAN_CODINGS };

typedef struct {
  uint64_t id;
  const float* rows;         // count × stride, zero-padded, 64-byte aligned
  const float* norms;        // ‖row‖ rounded up
  const uint32_t* handles;   // of each row
  const uint64_t* dead;      // `capacity` bits, bit i: row i is no longer there; null: none
  const uint64_t* left_out;  // bit i: row i is not in the filter; null: there is none, or a plugin is asked
  uint32_t capacity;         // rows that the block can come to hold, always the same for one id
  uint32_t count;            // rows visible in this version; a later version shows no fewer
  uint32_t dead_count;  // bits of `dead`; a later version has these and more: the number tells sets apart
  pointsman_codes codings[POINTSMAN_CODINGS];
} pointsman_block;

typedef struct {
  const pointsman_block* blocks;
  size_t block_count;
  uint32_t dimensions;
  uint32_t stride;
  const float* queries;      // query_count × stride, zero-padded, 64-byte aligned, finite
  const float* query_norms;  // rounded up
  const double*
      query_prefixes;  // query_count × kPrefixComponents (codes.hpp); null when no block has a prefix
  uint32_t query_count;
  uint32_t codings;  // bit c: pages may be scanned in coding c; bytes always may, to a plugin they alone
  uint32_t k;        // 1–4096
  // The filter by handle; to the CPU, the blocks' `left_out` say the same by row. Bit h: the expert with
  // handle h is eligible; null: all are.
  const uint64_t* filter;
  uint32_t filter_handles;  // bits in `filter`; higher handles are not eligible
  uint32_t threads;         // at most so many of the pool's
  int (*cancelled)(const void* context);
  const void* context;
  // Calls body(state, i) for each i < count on `threads` threads of the one pool; `body` must not throw.
  void (*parallel)(size_t count, uint32_t threads, void (*body)(void* state, size_t i), void* state);
  // Filled: query_count × k, row-major, best first; past counts[i]: score −∞, handle 0.
  float* scores;
  uint32_t* handles;
  uint32_t* counts;
} pointsman_request;

typedef struct {
  uint32_t abi;  // POINTSMAN_BACKEND_ABI
  const char* name;
  uint32_t max_k;
  uint32_t max_dimensions;
  // 0 when searches can run here, else the reason goes to `reason`.
  int (*probe)(char* reason, size_t capacity);
  // 0, or a code of errors.def plus one with the message in `message`. A cancelled search gives ABORTED.
  int (*search)(const pointsman_request* request, char* message, size_t capacity);
  void (*forget)(uint64_t block_id);  // may be null
} pointsman_backend;

#ifdef __cplusplus
}
#endif
