// Index: upsert and remove. Everything that can fail comes first (checks, memory, the copy of the rows into
// places that no version shows); then, without a way to fail, the new version is published and the directory
// follows.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "core/state.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

constexpr size_t kRowsAtOnce = 4096;  // checked between two looks at `cancel`
constexpr size_t kFetchAhead = 4;     // rows
constexpr uint64_t kRotateFrom = 32768;
constexpr uint64_t kRotationSample = 2048;

void refuse_bad_ids(std::span<const std::string_view> ids) {
  for (const std::string_view id : ids) {
    if (id.empty()) throw Error(Code::BAD_ARGUMENT, "an id is empty");
  }
  if (ids.size() < 2) return;
  const size_t mask = std::bit_ceil(ids.size() * 2) - 1;
  std::vector<uint32_t> table(mask + 1, UINT32_MAX);
  with_hashes(ids, table, [&](size_t i, uint64_t hash) {
    size_t slot = hash & mask;
    for (; table[slot] != UINT32_MAX; slot = (slot + 1) & mask) {
      if (ids[table[slot]] == ids[i]) {
        throw Error(Code::DUPLICATE_ID, "the id '" + std::string(ids[i]) + "' is named twice");
      }
    }
    table[slot] = static_cast<uint32_t>(i);
  });
}

// The rows of one call by falling norm: pages of like norms have a fitting scale, and a search that has seen
// the large ones can skip the pages whose norm can't reach its k-th best.
std::vector<uint32_t> by_norm(const std::vector<float>& norms) {
  std::vector<uint64_t> keys(norms.size());
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = by_falling_norm(norms[i], static_cast<uint32_t>(i));
  std::sort(keys.begin(), keys.end());
  return {keys.begin(), keys.end()};
}

// A version in the making: the current one, with places for more rows and more dead ones.
class Draft {
 public:
  Draft(const Version& base, uint32_t dimensions, uint32_t stride)
      : next_(std::make_shared<Version>(base)), dimensions_(dimensions), stride_(stride) {
    ++next_->number;
  }

  // Finds places for `count` rows: the rest of the tail, then new blocks.
  std::vector<Location> place(size_t count) {
    std::vector<Location> places;
    places.reserve(count);
    while (places.size() < count) {
      Extent& tail = open_tail(count - places.size());
      const uint32_t take =
          static_cast<uint32_t>(std::min<size_t>(count - places.size(), tail.block->capacity - tail.rows));
      for (uint32_t i = 0; i < take; ++i) places.push_back({tail_slot_, tail.rows + i});
      tail.rows += take;
    }
    next_->live += count;
    return places;
  }

  // Fills what `place` gave, page by page: write(begin, end) fills those places, then the page is coded while
  // its rows are at hand.
  template <typename Write>
  void fill(const std::vector<Location>& places, unsigned threads, const Cancel& cancel, const Write& write) {
    std::vector<size_t> starts;
    for (size_t i = 0; i < places.size(); ++i) {
      if (i == 0 || places[i].slot != places[i - 1].slot || places[i].row % kCodePage == 0)
        starts.push_back(i);
    }
    starts.push_back(places.size());
    if (next_->rotation) add_prefixes();
    ThreadPool::shared().parallel_for(starts.size() - 1, threads, [&](size_t part, unsigned) {
      cancel.check();
      write(starts[part], starts[part + 1]);
      const auto [slot, last] = places[starts[part + 1] - 1];
      if ((last + 1) % kCodePage != 0) return;
      Extent& extent = next_->extents[slot];
      extent.block->encode(last / kCodePage, dimensions_, stride_);
      if (next_->rotation) encode_prefixes(extent, last / kCodePage);
    });
    if (!seek_rotation(threads, cancel)) return;
    add_prefixes();
    ThreadPool::shared().parallel_for(next_->extents.size(), threads, [&](size_t slot, unsigned) {
      Extent& extent = next_->extents[slot];
      if (!extent.block) return;
      for (uint32_t page = 0; page < extent.rows / kCodePage; ++page) {
        cancel.check();
        encode_prefixes(extent, page);
      }
    });
  }

  void bury(Location at) {
    Extent& extent = next_->extents[at.slot];
    if (own_dead_.size() <= at.slot) own_dead_.resize(next_->extents.size());
    auto& dead = own_dead_[at.slot];
    if (!dead) {
      dead = extent.dead ? std::make_shared<DeadRows>(*extent.dead) : std::make_shared<DeadRows>();
      dead->resize((extent.block->capacity + 63) / 64);
      extent.dead = dead;
    }
    (*dead)[at.row / 64] |= uint64_t{1} << (at.row % 64);
    ++extent.dead_count;
    --next_->live;
  }

  // No more rows go into this block.
  void seal(uint32_t slot) { sealed_.push_back(slot); }

  float* row(Location at) const { return next_->extents[at.slot].block->rows + size_t{at.row} * stride_; }
  float& norm(Location at) const { return next_->extents[at.slot].block->norms[at.row]; }
  uint32_t& handle(Location at) const { return next_->extents[at.slot].block->handles[at.row]; }
  void next_handle(uint32_t handle) { next_->next_handle = handle; }

  std::shared_ptr<const Version> finish() noexcept { return std::move(next_); }

 private:
  void add_prefixes() {
    for (Extent& extent : next_->extents) {
      if (extent.block && !extent.prefixes)
        extent.prefixes = std::make_shared<Prefixes>(extent.block->capacity);
    }
  }

  void encode_prefixes(const Extent& extent, uint32_t page) const {
    extent.prefixes->encode(*next_->rotation, *extent.block, page, stride_);
  }

  // A rotation is learned once there are rows enough to repay it, from a sample spread over all of them;
  // where it does not pay, again when the index has doubled. True when this draft has a new one.
  bool seek_rotation(unsigned threads, const Cancel& cancel) {
    if (next_->rotation || next_->live < kRotateFrom || next_->live < 2 * next_->rotation_sought)
      return false;
    next_->rotation_sought = next_->live;
    uint64_t rows = 0;
    for (const Extent& extent : next_->extents) rows += extent.rows;
    const uint64_t step = std::max<uint64_t>(1, rows / kRotationSample);
    std::vector<const float*> sample;
    uint64_t skip = 0;
    for (const Extent& extent : next_->extents) {
      for (; skip < extent.rows; skip += step) {
        if (!extent.is_dead(static_cast<uint32_t>(skip)))
          sample.push_back(extent.block->rows + skip * stride_);
      }
      skip -= extent.rows;
    }
    next_->rotation = Rotation::learn(sample, dimensions_, threads, cancel);
    return next_->rotation != nullptr;
  }

  Extent& open_tail(size_t wanted) {
    auto& extents = next_->extents;
    if (tail_slot_ == UINT32_MAX) {
      for (uint32_t slot = 0; slot < extents.size(); ++slot) {
        const bool room = extents[slot].block && extents[slot].rows < extents[slot].block->capacity;
        if (room && std::find(sealed_.begin(), sealed_.end(), slot) == sealed_.end()) tail_slot_ = slot;
      }
    }
    if (tail_slot_ == UINT32_MAX || extents[tail_slot_].rows == extents[tail_slot_].block->capacity) {
      // As large as all that is there: few blocks for large indexes, little waste for small ones.
      const uint64_t size = std::max<uint64_t>(next_->live, wanted);
      const auto capacity =
          static_cast<uint32_t>(std::clamp<uint64_t>(std::bit_ceil(size), kSmallestBlock, kBlockRows));
      const auto empty =
          std::find_if(extents.begin(), extents.end(), [](const Extent& e) { return !e.block; });
      tail_slot_ = static_cast<uint32_t>(empty - extents.begin());
      if (empty == extents.end()) extents.emplace_back();
      extents[tail_slot_] = {};
      extents[tail_slot_].block = std::make_shared<Block>(capacity, dimensions_, stride_);
    }
    return extents[tail_slot_];
  }

  std::shared_ptr<Version> next_;
  const uint32_t dimensions_, stride_;
  uint32_t tail_slot_ = UINT32_MAX;
  std::vector<uint32_t> sealed_;
  std::vector<std::shared_ptr<DeadRows>> own_dead_;  // by slot: copies that this draft made
};

}  // namespace

void Index::upsert(std::span<const std::string_view> ids, std::span<const float> rows, const Cancel& cancel,
                   const Progress& progress) {
  if (rows.size() != ids.size() * dimensions_) {
    throw Error(Code::WRONG_SHAPE, std::to_string(ids.size()) + " ids need " +
                                       std::to_string(ids.size() * dimensions_) + " numbers, not " +
                                       std::to_string(rows.size()));
  }
  if (ids.empty()) return;
  std::vector<float> norms(ids.size());
  const auto norm_of = [&](size_t i) {
    return checked_norm(rows.data() + i * dimensions_, dimensions_, "vector", i);
  };
  // Of several bad rows the first is told, whichever thread comes upon its own first.
  std::atomic<size_t> first_bad{ids.size()};
  ThreadPool::shared().parallel_for(
      (ids.size() + kRowsAtOnce - 1) / kRowsAtOnce, threads_, [&](size_t part, unsigned) {
        cancel.check();
        size_t i = part * kRowsAtOnce;
        try {
          for (const size_t end = std::min(ids.size(), i + kRowsAtOnce); i < end; ++i) norms[i] = norm_of(i);
        } catch (const Error&) {
          for (size_t first = first_bad; i < first && !first_bad.compare_exchange_weak(first, i);) {
          }
        }
      });
  if (first_bad < ids.size()) norm_of(first_bad);

  Directory& directory = *state_->directory;
  std::vector<uint32_t> handles(ids.size()), order;
  // Neither can be shared out, and they take about as long; of a few rows not worth another thread.
  ThreadPool::shared().parallel_for(2, ids.size() <= kRowsAtOnce ? 1 : threads_, [&](size_t part, unsigned) {
    if (part == 0) {
      refuse_bad_ids(ids);
      directory.find_all(ids, handles.data());
    } else {
      order = by_norm(norms);
    }
  });
  std::vector<std::string_view> fresh;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (handles[i] == Directory::kNoHandle) fresh.push_back(ids[i]);
  }
  const uint32_t first = directory.next_handle();
  if (fresh.size() > Directory::kMaxHandles - first)
    throw Error(Code::INDEX_FULL, "the index has no handles left");

  const auto base = state_->current();
  Draft draft(*base, dimensions_, stride_);
  const std::vector<Location> places = draft.place(ids.size());
  std::vector<Location> place_of(ids.size());
  for (size_t i = 0; i < order.size(); ++i) place_of[order[i]] = places[i];
  std::vector<uint32_t> moved;
  std::vector<Location> moved_to, fresh_at;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (handles[i] == Directory::kNoHandle) {
      handles[i] = first + static_cast<uint32_t>(fresh_at.size());
      fresh_at.push_back(place_of[i]);
    } else {
      draft.bury(directory.locate(handles[i]));
      moved.push_back(handles[i]);
      moved_to.push_back(place_of[i]);
    }
  }
  draft.next_handle(first + static_cast<uint32_t>(fresh.size()));

  std::atomic<uint64_t> done{0};
  const auto row_of = [&](size_t i) { return rows.data() + size_t{order[i]} * dimensions_; };
  draft.fill(places, threads_, cancel, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      for (uint32_t j = 0; i + kFetchAhead < end && j < dimensions_; j += kRowAlign)
        __builtin_prefetch(row_of(i + kFetchAhead) + j);
      pad_row(row_of(i), dimensions_, stride_, draft.row(places[i]));
      draft.norm(places[i]) = norms[order[i]];
      draft.handle(places[i]) = handles[order[i]];
    }
    if (progress) progress(done += end - begin, ids.size());
  });

  directory.reserve(fresh.size());
  try {
    directory.append(fresh, fresh_at);
    cancel.check();
  } catch (...) {
    directory.withdraw(first);
    throw;
  }
  state_->publish(draft.finish());
  directory.publish(fresh, first);
  directory.move(moved, moved_to);
  compact();
}

size_t Index::remove(std::span<const std::string_view> ids) {
  std::vector<uint32_t> handles(ids.size());
  state_->directory->find_all(ids, handles.data());
  std::erase(handles, Directory::kNoHandle);
  std::sort(handles.begin(), handles.end());
  handles.erase(std::unique(handles.begin(), handles.end()), handles.end());
  if (handles.empty()) return 0;

  Draft draft(*state_->current(), dimensions_, stride_);
  for (const uint32_t handle : handles) draft.bury(state_->directory->locate(handle));
  state_->publish(draft.finish());
  state_->directory->remove(handles);
  compact();
  return handles.size();
}

// Rewrites blocks of which more than half is dead, so that dead rows never outnumber live ones by much; one
// block frees at least as many rows as it moves, so writes stay constant time on average. Best effort: what
// cannot get memory stays as it is.
void Index::compact() noexcept {
  try {
    const auto base = state_->current();
    std::vector<uint32_t> slots;
    for (uint32_t slot = 0; slot < base->extents.size(); ++slot) {
      const Extent& extent = base->extents[slot];
      if (extent.block && extent.rows >= kSmallestBlock && extent.dead_count * 2 > extent.rows)
        slots.push_back(slot);
    }
    if (slots.empty()) return;

    Draft draft(*base, dimensions_, stride_);
    for (const uint32_t slot : slots) draft.seal(slot);
    std::vector<Location> from;
    for (const uint32_t slot : slots) {
      const Extent& extent = base->extents[slot];
      for (uint32_t row = 0; row < extent.rows; ++row) {
        if (!extent.is_dead(row)) from.push_back({slot, row});
      }
    }
    const std::vector<Location> to = draft.place(from.size());
    for (const Location at : from) draft.bury(at);
    std::vector<uint32_t> handles(from.size());
    draft.fill(to, threads_, Cancel(), [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        handles[i] = draft.handle(from[i]);
        draft.handle(to[i]) = handles[i];
        draft.norm(to[i]) = draft.norm(from[i]);
        std::memcpy(draft.row(to[i]), draft.row(from[i]), stride_ * sizeof(float));
      }
    });
    auto after = std::make_shared<Version>();
    const auto moved = draft.finish();
    *after = *moved;
    for (const uint32_t slot : slots) after->extents[slot] = {};
    ++after->number;

    // First both places (the old ones dead), so that who looks an expert up by a place read just before still
    // finds its block; then the directory; then the old blocks go.
    state_->publish(moved);
    state_->directory->move(handles, to);
    state_->publish(std::move(after));
  } catch (...) {
  }
}

}  // namespace pointsman
