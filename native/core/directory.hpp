// Ids, handles and where each expert's row is. A handle and its id text are forever (a result of an older
// version still resolves); id → handle → row is of now. One writer at a time; any thread may read. The lock
// is held for microseconds: long writes go in portions, and growing happens outside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/storage.hpp"
#include "pointsman/hash.hpp"

namespace pointsman {

inline uint64_t hash_of(std::string_view id) { return hash64(id.data(), id.size()); }

// Calls body(i, hash) for every id in turn; its slot in a hash table, whose size is a power of two or 0, is
// fetched ahead.
template <typename Slot, typename Body>
void with_hashes(std::span<const std::string_view> ids, const std::vector<Slot>& table, const Body& body) {
  constexpr size_t kAtOnce = 32;
  uint64_t hashes[kAtOnce];
  for (size_t start = 0; start < ids.size(); start += kAtOnce) {
    const size_t count = std::min(kAtOnce, ids.size() - start);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = hash_of(ids[start + i]);
      if (!table.empty()) __builtin_prefetch(&table[hashes[i] & (table.size() - 1)]);
    }
    for (size_t i = 0; i < count; ++i) body(start + i, hashes[i]);
  }
}

class Directory {
 public:
  static constexpr uint32_t kNoHandle = UINT32_MAX;
  static constexpr uint32_t kMaxHandles = UINT32_MAX - 1;

  // ---- readers ----
  uint32_t find(std::string_view id) const;  // kNoHandle when absent
  void find_all(std::span<const std::string_view> ids, uint32_t* handles) const;
  // Of a live expert; throws UNKNOWN_HANDLE.
  std::string id_of(uint32_t handle) const;
  Location locate(uint32_t handle) const;
  // Ids of live handles from `first` on, at most `most`; `next` is where to go on.
  std::vector<std::string> page(uint32_t first, uint32_t most, uint32_t& next) const;
  // The text of handles that were given out, valid as long as the directory. Throws UNKNOWN_HANDLE for
  // others.
  void texts(std::span<const uint32_t> handles, std::string_view* out) const;
  size_t bytes() const;
  // All experts with lower handles are found by id (until they are removed).
  uint32_t known_handles() const;

  // ---- the writer ----
  uint32_t next_handle() const { return next_handle_; }
  // Makes room for `count` more ids; may throw, changes nothing that is seen.
  void reserve(size_t count);
  // Gives `ids` the handles from next_handle() on, with their text and place kept but not yet found by id.
  // May throw; undo by `withdraw`.
  void append(std::span<const std::string_view> ids, std::span<const Location> rows);
  void withdraw(uint32_t first_handle) noexcept;
  // The rest never throws. `first`..: the handles that one append gave `ids`.
  void publish(std::span<const std::string_view> ids, uint32_t first) noexcept;
  void move(std::span<const uint32_t> handles, std::span<const Location> rows) noexcept;
  void remove(std::span<const uint32_t> handles) noexcept;

  // For a snapshot: gives `ids` the handles named (below `next`), live at `rows`, their text
  // borrowed from what `owner` keeps. Throws FILE_CORRUPT when two ids are equal.
  void restore(std::span<const std::string_view> ids, std::span<const uint32_t> handles,
               std::span<const Location> rows, uint32_t next, std::shared_ptr<const void> owner);

 private:
  // Open addressing with linear probing; a slot is 32 bits of the id's hash and the handle.
  struct Slot {
    uint32_t tag;
    uint32_t handle;
  };
  struct Entry {
    const char* text = nullptr;
    uint32_t length = 0;
    Location row;
    std::string_view view() const { return {text, length}; }
  };

  // Handles in `entries_` are dense from 0 on, but for gaps in a restored snapshot (null text).
  const Entry* entry(uint32_t handle) const {
    return handle < entries_.size() && entries_[handle].text ? &entries_[handle] : nullptr;
  }
  uint32_t find_locked(std::string_view id, uint64_t hash) const;
  void insert_locked(uint32_t handle, uint64_t hash) noexcept;
  const char* keep(std::string_view text);

  mutable std::mutex mutex_;
  std::vector<Slot> table_;  // size a power of two, or empty
  size_t used_ = 0;          // slots with a handle or a grave
  size_t live_ = 0;          // slots with a handle
  std::deque<Entry> entries_;
  uint32_t next_handle_ = 0;

  std::shared_ptr<const void> owner_;  // of text that was restored
  std::vector<std::unique_ptr<char[]>> arena_;
  size_t arena_left_ = 0;
  char* arena_next_ = nullptr;
  size_t arena_bytes_ = 0;
};

}  // namespace pointsman
