// Interactions on disk, read in pieces: data larger than memory. A file (file.hpp, magic PTSMNACT) holds,
// each section at a multiple of 64 after the header:
//
//   user starts, item starts   (lines + 1) × uint64
//   by user     ids of items, count × uint32; weights, count × float32, in a weighted file
//   by item     ids of users, and weights, likewise
//   names       of users, of items: bytes that only the caller understands; may be empty
//
// Within a line, interactions keep the order in which they came. Only `starts` are held in memory.
#pragma once

#include <memory>
#include <string>

#include "pointsman/file.hpp"
#include "train/implicit.hpp"

namespace pointsman::train {

struct InteractionCounts {
  uint64_t users = 0, items = 0, count = 0;
  bool weighted = false;
};

// Sorts a file of records { user, item: uint32; weight: float32 } both ways. `memory` bytes hold the
// interactions that are being sorted: the records are read once for counting and, for each side, once for
// each `memory` / 8 of them. Throws WRONG_SHAPE for an id out of range, NOT_FINITE for a weight that is not
// from 0 to 1e30, FILE_IO, FILE_CORRUPT, ABORTED.
InteractionCounts write_interactions(const std::string& records, const std::string& path, uint64_t users,
                                     uint64_t items, bool weighted, const std::string& user_names,
                                     const std::string& item_names, uint64_t memory, const Cancel& cancel,
                                     const Progress& progress);

class InteractionFile {
 public:
  // Verifies the whole file. Throws FILE_IO, FILE_CORRUPT, FILE_VERSION, ABORTED.
  InteractionFile(const std::string& path, const Cancel& cancel, const Progress& progress);

  const InteractionCounts& counts() const { return counts_; }
  const Lines& by_user() const { return *by_user_; }
  const Lines& by_item() const { return *by_item_; }
  std::string user_names() const { return user_names_; }
  std::string item_names() const { return item_names_; }
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  InputFile file_;
  InteractionCounts counts_;
  std::unique_ptr<Lines> by_user_, by_item_;
  std::string user_names_, item_names_;
  uint64_t fingerprint_ = 0;
};

// The items' vectors of a run after some sweeps, under what it may be continued with.
struct Checkpoint {
  Table items;
  uint32_t done = 0;
};
void write_checkpoint(const std::string& path, const Table& items, uint32_t done, uint64_t users,
                      const ImplicitSettings& settings, uint64_t fingerprint, const Cancel& cancel);
// Throws FILE_VERSION, FILE_CORRUPT, FILE_IO; BAD_ARGUMENT where it is of other data or settings (sweeps may
// differ).
Checkpoint read_checkpoint(const std::string& path, uint64_t users, uint64_t items,
                           const ImplicitSettings& settings, uint64_t fingerprint, const Cancel& cancel);

}  // namespace pointsman::train
