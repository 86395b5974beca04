// Which blocks are on the device. Blocks only grow while they live and their ids are never reused, so a copy
// is kept by id: rows and pages that came since are added to it, the bitset of dead rows is replaced where it
// has changed, and the least recently searched blocks make room for others.
//
// Codes must fit, else the search is refused. Rows, four times as large, are kept beside them where the
// budget holds both for the whole index; else they stay on the host, which then scores what the codes leave.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/views.hpp"
#include "pointsman/backend.hpp"

namespace pointsman::cuda {

// One version of an index on the device, immutable; it holds what its units point to.
struct Image {
  uint32_t count = 0;  // units
  uint32_t tails = 0;  // the first so many have no codes
  bool rows_on_device = false;
  Memory units;                         // Unit[count]
  Memory eligible;                      // kTiles words a unit; none: no row is dead
  std::vector<uint64_t> upto;           // rows before each unit, and of all, not counting dead ones
  std::vector<const float*> host_rows;  // of each unit; valid while a request names the block
  std::vector<std::shared_ptr<const Memory>> holds;
};

class Residency {
 public:
  explicit Residency(Device& device);
  ~Residency();

  // The image of a request's blocks, with what is missing brought to the device first. Throws OUT_OF_MEMORY.
  std::shared_ptr<const Image> acquire(const pointsman_request& request);
  // Memory for other purposes, for which blocks make room.
  Memory allocate(size_t bytes);
  void forget(uint64_t block) noexcept;

  size_t blocks() const;

 private:
  struct Copy {
    uint64_t used = 0;  // when, in searches
    std::shared_ptr<Memory> codes, handles, rows, dead;
    uint32_t pages = 0, row_count = 0, handle_count = 0, dead_count = 0;  // what has been brought
    // With rows on the host: those of the page that is not full yet.
    std::shared_ptr<Memory> tail;
    uint32_t tail_page = 0, tail_rows = 0;
  };
  // What tells versions of an index apart.
  struct Key {
    uint64_t id;
    uint32_t count, dead_count;
    bool operator==(const Key&) const = default;
  };
  struct Cached {
    std::vector<Key> key;
    std::shared_ptr<const Image> image;
  };

  std::shared_ptr<Memory> take(size_t bytes);
  bool make_room(size_t bytes);
  bool plan(const pointsman_request& request) const;
  void bring(const pointsman_request& request, const pointsman_block& block, bool with_rows, Copy& copy);
  std::shared_ptr<Memory> bring_tail(const pointsman_block& block, uint32_t stride, Copy& copy);
  std::shared_ptr<const Image> build(const pointsman_request& request, bool with_rows);
  void find_eligible(Image& image, std::vector<uint32_t>& rows);
  void upload(void* to, const void* from, size_t bytes);
  void finish_uploads();

  Device& device_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, Copy> copies_;
  std::list<Cached> images_;  // the last ones, most recent first
  uint64_t now_ = 0;
  // Uploads go through two buffers: one is filled while the other is on its way.
  Pinned staging_[2];
  Event sent_[2];
  int filling_ = 0;
  size_t filled_ = 0;
};

}  // namespace pointsman::cuda
