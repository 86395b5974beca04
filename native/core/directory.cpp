#include "core/directory.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "pointsman/error.hpp"
#include "pointsman/hash.hpp"

namespace pointsman {
namespace {

constexpr uint32_t kEmpty = UINT32_MAX;
constexpr uint32_t kGrave = UINT32_MAX - 1;  // a removed id: probing goes on past it
constexpr size_t kPortion = 2048;            // ids handled under one hold of the lock
constexpr size_t kArenaChunk = size_t{1} << 16;

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

Error unknown(uint32_t handle) {
  return Error(Code::UNKNOWN_HANDLE, "no expert has the handle " + std::to_string(handle));
}

// Calls body(begin, end) for portions, each under one hold of the lock.
template <typename Body>
void portions(size_t count, std::mutex& mutex, const Body& body) {
  for (size_t begin = 0; begin < count; begin += kPortion) {
    std::lock_guard lock(mutex);
    body(begin, std::min(count, begin + kPortion));
  }
}

template <typename Body>
void in_portions(size_t count, std::mutex& mutex, const Body& body) {
  portions(count, mutex, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) body(i);
  });
}

// The same with the ids' hashes, whose slots in `table` are fetched ahead.
template <typename Slot, typename Body>
void in_portions(std::span<const std::string_view> ids, std::mutex& mutex, const std::vector<Slot>& table,
                 const Body& body) {
  portions(ids.size(), mutex, [&](size_t begin, size_t end) {
    with_hashes(ids.subspan(begin, end - begin), table,
                [&](size_t i, uint64_t hash) { body(begin + i, hash); });
  });
}

}  // namespace

// ---- readers ----

uint32_t Directory::find_locked(std::string_view id, uint64_t hash) const {
  if (table_.empty()) return kNoHandle;
  const size_t mask = table_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot slot = table_[i];
    if (slot.handle == kEmpty) return kNoHandle;
    if (slot.handle != kGrave && slot.tag == tag_of(hash) && entries_[slot.handle].view() == id) {
      return slot.handle;
    }
  }
}

uint32_t Directory::find(std::string_view id) const {
  const uint64_t hash = hash_of(id);
  std::lock_guard lock(mutex_);
  return find_locked(id, hash);
}

void Directory::find_all(std::span<const std::string_view> ids, uint32_t* handles) const {
  in_portions(ids, mutex_, table_, [&](size_t i, uint64_t hash) { handles[i] = find_locked(ids[i], hash); });
}

std::string Directory::id_of(uint32_t handle) const {
  std::lock_guard lock(mutex_);
  const Entry* e = entry(handle);
  if (e == nullptr || !e->row.valid()) throw unknown(handle);
  return std::string(e->view());
}

Location Directory::locate(uint32_t handle) const {
  std::lock_guard lock(mutex_);
  const Entry* e = entry(handle);
  return e ? e->row : Location{};
}

std::vector<std::string> Directory::page(uint32_t first, uint32_t most, uint32_t& next) const {
  std::vector<std::string> ids;
  std::lock_guard lock(mutex_);
  uint32_t handle = first;
  for (; handle < entries_.size() && ids.size() < most; ++handle) {
    const Entry* e = entry(handle);
    if (e && e->row.valid()) ids.emplace_back(e->view());
  }
  next = handle;
  return ids;
}

void Directory::texts(std::span<const uint32_t> handles, std::string_view* out) const {
  in_portions(handles.size(), mutex_, [&](size_t i) {
    const Entry* e = entry(handles[i]);
    if (e == nullptr) throw unknown(handles[i]);
    out[i] = e->view();
  });
}

size_t Directory::bytes() const {
  std::lock_guard lock(mutex_);
  return table_.size() * sizeof(Slot) + entries_.size() * sizeof(Entry) + arena_bytes_;
}

uint32_t Directory::known_handles() const {
  std::lock_guard lock(mutex_);
  return next_handle_;
}

// ---- the writer ----

void Directory::reserve(size_t count) {
  // Only the writer changes the table, so it may read it without the lock; graves go at each rebuild.
  const size_t wanted = live_ + count;
  if ((used_ + count) * 10 <= table_.size() * 7) return;
  std::vector<Slot> table(std::bit_ceil(std::max<size_t>(64, wanted * 2)), Slot{0, kEmpty});
  const size_t mask = table.size() - 1;
  for (const Slot& slot : table_) {
    if (slot.handle >= kGrave) continue;
    size_t i = hash_of(entries_[slot.handle].view()) & mask;
    while (table[i].handle != kEmpty) i = (i + 1) & mask;
    table[i] = slot;
  }
  std::lock_guard lock(mutex_);
  table_.swap(table);
  used_ = live_;
}

const char* Directory::keep(std::string_view text) {
  if (text.size() > arena_left_) {
    const size_t size = std::max(kArenaChunk, text.size());
    arena_.push_back(std::make_unique<char[]>(size));
    arena_next_ = arena_.back().get();
    arena_left_ = size;
    arena_bytes_ += size;
  }
  char* place = arena_next_;
  std::memcpy(place, text.data(), text.size());
  arena_next_ += text.size();
  arena_left_ -= text.size();
  return place;
}

void Directory::append(std::span<const std::string_view> ids, std::span<const Location> rows) {
  in_portions(ids.size(), mutex_, [&](size_t i) {
    Entry e;
    e.text = keep(ids[i]);
    e.length = static_cast<uint32_t>(ids[i].size());
    e.row = rows[i];
    entries_.push_back(e);
  });
}

void Directory::withdraw(uint32_t first_handle) noexcept {
  std::lock_guard lock(mutex_);
  while (entries_.size() > first_handle) entries_.pop_back();
}

void Directory::insert_locked(uint32_t handle, uint64_t hash) noexcept {
  const size_t mask = table_.size() - 1;
  size_t i = hash & mask;
  while (table_[i].handle != kEmpty) i = (i + 1) & mask;
  table_[i] = {tag_of(hash), handle};
  ++used_;
  ++live_;
}

void Directory::publish(std::span<const std::string_view> ids, uint32_t first) noexcept {
  in_portions(ids, mutex_, table_,
              [&](size_t i, uint64_t hash) { insert_locked(first + static_cast<uint32_t>(i), hash); });
  std::lock_guard lock(mutex_);
  next_handle_ = first + static_cast<uint32_t>(ids.size());
}

void Directory::move(std::span<const uint32_t> handles, std::span<const Location> rows) noexcept {
  in_portions(handles.size(), mutex_, [&](size_t i) { entries_[handles[i]].row = rows[i]; });
}

void Directory::remove(std::span<const uint32_t> handles) noexcept {
  in_portions(handles.size(), mutex_, [&](size_t i) {
    Entry& e = entries_[handles[i]];
    e.row = Location{};
    const uint64_t hash = hash_of(e.view());
    const size_t mask = table_.size() - 1;
    size_t slot = hash & mask;
    while (table_[slot].handle != handles[i]) slot = (slot + 1) & mask;
    table_[slot].handle = kGrave;
    --live_;
  });
}

void Directory::restore(std::span<const std::string_view> ids, std::span<const uint32_t> handles,
                        std::span<const Location> rows, uint32_t next, std::shared_ptr<const void> owner) {
  owner_ = std::move(owner);
  reserve(ids.size());
  std::lock_guard lock(mutex_);
  entries_.resize(next);  // handles that were removed before the snapshot stay gaps
  for (size_t i = 0; i < ids.size(); ++i) {
    if (entries_[handles[i]].text) throw Error(Code::FILE_CORRUPT, "the file gives one handle twice");
    entries_[handles[i]] = {ids[i].data(), static_cast<uint32_t>(ids[i].size()), rows[i]};
    const uint64_t hash = hash_of(ids[i]);
    if (find_locked(ids[i], hash) != kNoHandle) {
      throw Error(Code::FILE_CORRUPT, "the file names the id '" + std::string(ids[i]) + "' twice");
    }
    insert_locked(handles[i], hash);
  }
  next_handle_ = next;
}

}  // namespace pointsman
