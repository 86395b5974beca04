// The index: experts' vectors, searched by inner product while they change.
//
// Searches may run on any number of threads at once, with writes between them: each sees the one version that
// was current when it began. Writes are serial (the caller sees to that: see Strand) and all or nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pointsman/backend.hpp"
#include "pointsman/task.hpp"

namespace pointsman {

inline constexpr uint32_t kMaxK = 4096;
inline constexpr uint32_t kMaxDimensions = 4096;
inline constexpr double kMaxSquaredNorm = 0x1p126;

class FilterRows;  // core/filter_rows.hpp

// Experts by handle: bit h is set when the expert with handle h is eligible. Of one index.
struct Filter {
  uint64_t index = 0;  // the id of the index that made it
  std::vector<uint64_t> bits;
  uint32_t handles = 0;  // bits in use
  uint32_t size = 0;     // bits set
  std::shared_ptr<FilterRows> rows;
};

class Directory;  // core/directory.hpp

struct SearchResult {
  std::vector<uint32_t> counts;   // hits of each query
  std::vector<float> scores;      // count × k, −∞ past counts[i]
  std::vector<uint32_t> handles;  // count × k, 0 past counts[i]
};

struct IndexStats {
  uint64_t size, dimensions, blocks, bytes, dead_rows, next_handle, searches, queries, version;
  double search_seconds;  // within the backend, all searches summed
  std::string backend, backend_reason, isa, isa_reason;
  std::string pruning;  // by what rows are excluded before they are looked at whole
  std::string codings;  // what searches of each batch size begin with, as measured so far (core/tuning.hpp)
  unsigned threads;
};

class Index {
 public:
  // `threads` 0: all of the pool. Throws BAD_DIMENSIONS, BACKEND_UNAVAILABLE, UNKNOWN_ISA.
  Index(uint32_t dimensions, unsigned threads, const std::string& backend);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  // ---- writes: one at a time ----

  // Rows are row-major, ids.size() × dimensions. A present id keeps its handle. Throws WRONG_SHAPE,
  // NOT_FINITE, NORM_TOO_LARGE, DUPLICATE_ID, INDEX_FULL, ABORTED, std::bad_alloc; then nothing has changed.
  void upsert(std::span<const std::string_view> ids, std::span<const float> rows, const Cancel& cancel,
              const Progress& progress);
  // Ids that are not there are passed over; returns how many were there.
  size_t remove(std::span<const std::string_view> ids);

  // ---- reads: any thread, any time ----

  // The ids that are there, or with `complement` all others that are there now.
  Filter filter(std::span<const std::string_view> ids, bool complement) const;
  bool has(std::string_view id) const;
  // UINT32_MAX when absent.
  uint32_t handle_of(std::string_view id) const;
  // Empty when absent.
  std::vector<float> vector(std::string_view id) const;
  // Of a live expert; throws UNKNOWN_HANDLE.
  std::string id_of(uint32_t handle) const;
  // The ids of handles, for results: it also knows experts that were removed since, and outlives the index.
  std::shared_ptr<const Directory> directory() const;
  std::vector<std::string> ids(uint32_t first, uint32_t most, uint32_t& next) const;

  // `queries`: row-major, any number of rows × dimensions. `threads` 0: this index's own. Throws WRONG_SHAPE,
  // BAD_K, NOT_FINITE, NORM_TOO_LARGE, BAD_ARGUMENT (a filter of another index), ABORTED.
  SearchResult search(std::span<const float> queries, uint32_t k, const Filter* filter, unsigned threads,
                      const Cancel& cancel) const;

  // Whether searches of this kind took so little on one thread that handing them to another would take
  // longer.
  bool hardly_takes_time(std::span<const float> queries, bool filtered) const;

  // A snapshot of the current version: to a temporary file beside `path`, synced, then renamed.
  void save(const std::string& path, const Cancel& cancel, const Progress& progress) const;
  // `verify_rows` false: header, ids and norms are verified, the rows are not read. Throws FILE_IO,
  // FILE_CORRUPT, FILE_VERSION.
  static std::unique_ptr<Index> open(const std::string& path, unsigned threads, const std::string& backend,
                                     bool verify_rows, const Cancel& cancel, const Progress& progress);

  IndexStats stats() const;
  uint64_t bytes() const;  // stats().bytes alone
  uint32_t dimensions() const { return dimensions_; }

 private:
  struct State;
  void compact() noexcept;
  bool answered_by_plugin(const pointsman_request& request) const;
  const uint64_t id_;  // never reused
  const uint32_t dimensions_;
  const uint32_t stride_;
  const unsigned threads_;
  std::unique_ptr<State> state_;
};

}  // namespace pointsman
