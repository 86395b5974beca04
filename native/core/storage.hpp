// Rows and versions of an index.
//
// A Block holds up to `capacity` rows and only grows: once a row is visible in some version it never changes.
// A Version is an immutable list of blocks with how many rows of each are visible and which of those are
// dead. The last block is the mutable tail: a writer fills rows that no version shows yet, then publishes a
// version that does. Searches hold the version they started with; a block goes when the last version that
// names it goes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/rotation.hpp"
#include "pointsman/backend.hpp"
#include "pointsman/buffer.hpp"
#include "pointsman/codes.hpp"

namespace pointsman {

// Most rows of one block: large enough for few blocks, small enough to rewrite one when half of it is dead.
inline constexpr uint32_t kBlockRows = 16384;
inline constexpr uint32_t kSmallestBlock = 256;

// The pages of a block in one coding.
struct PageCodes {
  uint8_t* codes;
  CodePage* pages;
};

struct Block {
  // Rows in memory of its own.
  Block(uint32_t capacity, uint32_t dimensions, uint32_t stride);
  // Rows in a file mapped by `owner`, never written to.
  Block(uint32_t count, float* rows, float* norms, uint32_t* handles, const PageCodes& bytes,
        const PageCodes& nibbles, std::shared_ptr<const void> owner);
  ~Block();  // tells the backends to forget it

  const uint64_t id;
  const uint32_t capacity;
  float* rows;
  float* norms;
  uint32_t* handles;
  // Of each page of 1024 rows, written by `encode` when its last row is filled, before a version shows that
  // row.
  PageCodes bytes, nibbles;

  void encode(uint32_t page, uint32_t dimensions, uint32_t stride);
  size_t memory() const { return memory_.bytes(); }

 private:
  Buffer memory_;
  std::shared_ptr<const void> owner_;
};

using DeadRows = std::vector<uint64_t>;  // bit i: row i of the block is dead

// Codes of the prefixes of a block's full pages.
struct Prefixes {
  explicit Prefixes(uint32_t capacity);
  // In a mapped file that the block keeps.
  explicit Prefixes(const PageCodes& in_file) : bytes(in_file) {}
  void encode(const Rotation& rotation, const Block& block, uint32_t page, uint32_t stride);

  PageCodes bytes;
  Buffer memory;
};

struct Extent {
  std::shared_ptr<Block> block;        // null: an empty slot, free for the next block
  std::shared_ptr<Prefixes> prefixes;  // null as long as the version has no rotation
  uint32_t rows = 0;
  std::shared_ptr<const DeadRows> dead;  // null: none
  uint32_t dead_count = 0;

  bool is_dead(uint32_t row) const { return dead && ((*dead)[row / 64] >> (row % 64) & 1); }
};

// Where a row is: the slot of its block in the version's list, which never changes while the block lives, and
// its place there.
struct Location {
  uint32_t slot = UINT32_MAX;
  uint32_t row = UINT32_MAX;
  bool valid() const { return slot != UINT32_MAX; }
};

struct Version {
  uint64_t number = 0;
  uint64_t live = 0;         // experts
  uint32_t next_handle = 0;  // all handles of this version are lower
  std::vector<Extent> extents;
  std::shared_ptr<const Rotation> rotation;  // null: none is learned yet, or none pays
  uint64_t rotation_sought = 0;              // experts when one was last looked for

  // Of memory of its own; pages of a mapped snapshot are the system's to take back.
  size_t bytes() const;
  // What a backend sees of it. Valid as long as the version.
  std::vector<pointsman_block> view() const;
};

}  // namespace pointsman
