// What an Index holds; shared by index.cpp (reads), write.cpp and snapshot.cpp.
#pragma once

#include <bit>

#include "core/backends.hpp"
#include "core/directory.hpp"
#include "core/storage.hpp"
#include "core/tuning.hpp"
#include "pointsman/index.hpp"

namespace pointsman {

struct Index::State {
  BackendState backend;
  std::shared_ptr<Directory> directory = std::make_shared<Directory>();  // results keep it, too

  // Held only to copy or to swap the pointer.
  mutable std::mutex version_mutex;
  std::shared_ptr<const Version> version = std::make_shared<const Version>();

  mutable Tuning tuning;
  mutable std::atomic<uint64_t> searches{0};
  mutable std::atomic<uint64_t> queries{0};
  mutable std::atomic<uint64_t> nanoseconds{0};  // of searches, within the backend

  // Counts what the backend took since `start`. Returns it, in seconds.
  double spent(std::chrono::steady_clock::time_point start) const {
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
    nanoseconds.fetch_add(static_cast<uint64_t>(took.count()), std::memory_order_relaxed);
    return std::chrono::duration<double>(took).count();
  }

  // Why the CPU answered the last search in the backend's place; empty: it did not.
  mutable std::mutex fallback_mutex;
  mutable std::string fallback;
  void fell_back(const std::string& why) const {
    std::lock_guard lock(fallback_mutex);
    fallback = why;
  }

  std::shared_ptr<const Version> current() const {
    std::lock_guard lock(version_mutex);
    return version;
  }
  void publish(std::shared_ptr<const Version> next) noexcept {
    // The old version may be the last to name a block: it is freed outside the lock.
    std::lock_guard lock(version_mutex);
    version.swap(next);
  }
};

// ‖row‖ rounded up to float32. Throws NOT_FINITE or NORM_TOO_LARGE, naming `what` and the row.
float checked_norm(const float* row, uint32_t dimensions, const char* what, size_t number);

// Keys that sort rows by falling norm, those of one norm by rising `tie`: norms are not negative, so their
// bits are in their order.
inline uint64_t by_falling_norm(float norm, uint32_t tie) {
  return uint64_t{~std::bit_cast<uint32_t>(norm)} << 32 | tie;
}

// A copy of a row with zero padding up to the stride.
void pad_row(const float* from, uint32_t dimensions, uint32_t stride, float* to);

}  // namespace pointsman
