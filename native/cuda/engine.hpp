// Searches on one device: its memory, the copies of blocks, and a few lanes on which searches run at once.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/residency.hpp"
#include "pointsman/backend.hpp"

namespace pointsman::cuda {

// For tests and benchmarks; zeros mean the usual.
struct Limits {
  size_t memory = 0;        // budget in bytes
  uint32_t candidates = 0;  // kept for a query at most; raised to k + 1024
};

// What one search did.
struct Report {
  const char* kernel = "";
  double device_seconds = 0;  // from the first work on the stream to the last, by events
  uint32_t redone = 0;        // ranges scanned again because candidates had been lost
  bool rows_on_device = false;
};

// A stream with what a search needs to itself.
struct Lane {
  explicit Lane(Device& device) : stream(device), begin(device), end(device) {}

  Stream stream;
  Event begin, end;
  Memory scratch;
  Pinned host;
};

class Engine {
 public:
  // Throws BACKEND_UNAVAILABLE with the reason.
  explicit Engine(const Limits& limits = {});

  // Throws OUT_OF_MEMORY, BACKEND_UNAVAILABLE, ABORTED; then the request's results are not to be used.
  // `kernel`: the name of the scan kernel to use, else the one for the batch.
  Report search(const pointsman_request& request, const char* kernel = nullptr);
  void forget(uint64_t block) noexcept { residency_.forget(block); }

  Device& device() { return device_; }
  Residency& residency() { return residency_; }
  const Limits& limits() const { return limits_; }

 private:
  // Waits until one is free.
  Lane& enter();
  void leave(Lane& lane) noexcept;

  const Limits limits_;
  Device device_;
  Residency residency_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> free_;
};

}  // namespace pointsman::cuda
