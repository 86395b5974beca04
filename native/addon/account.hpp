// What an object takes of memory, as JavaScript's collector counts it. The collector sees a small object
// only, and would leave one that nobody closed where it is until the process ends.
#pragma once

#include <napi.h>

#include <cstdint>

namespace pointsman::addon {

// Used on the environment's thread alone; `close(0)` before the object goes.
class Account {
 public:
  explicit Account(Napi::Env env) : env_(env) {}

  void set(uint64_t bytes) {
    if (closed_) return;
    move_to(bytes);
  }
  // From now on it stays at `left`, until it is closed with less.
  void close(uint64_t left) {
    if (!closed_ || left < bytes_) move_to(left);
    closed_ = true;
  }

 private:
  void move_to(uint64_t bytes) {
    Napi::MemoryManagement::AdjustExternalMemory(env_,
                                                 static_cast<int64_t>(bytes) - static_cast<int64_t>(bytes_));
    bytes_ = bytes;
  }

  Napi::Env env_;
  uint64_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace pointsman::addon
