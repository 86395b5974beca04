// What long work shares with its caller: a way to stop it and a way to hear of its progress.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "pointsman/error.hpp"

namespace pointsman {

// Set by the caller, polled by the work at least every few milliseconds. Shared by both.
class Cancel {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }
  void check() const {
    if (requested()) throw Error(Code::ABORTED, "the operation was aborted");
  }

 private:
  std::atomic<bool> requested_{false};
};

// Called from any thread of the work with how much of the total is done; may be empty.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

}  // namespace pointsman
