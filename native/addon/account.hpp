// What an object takes of memory, as JavaScript's collector counts it. The collector sees a small object
// only, and would leave one that nobody closed where it is until the process ends.
#pragma once

#include <napi.h>

#include <cstdint>

namespace pointsman::addon {

// Belongs to the object, and goes with it, on the environment's thread.
class Account {
 public:
  explicit Account(Napi::Env env, uint64_t bytes = 0) : env_(env) { set(bytes); }
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;
  ~Account() { set(0); }

  void set(uint64_t bytes) {
    Napi::MemoryManagement::AdjustExternalMemory(env_,
                                                 static_cast<int64_t>(bytes) - static_cast<int64_t>(bytes_));
    bytes_ = bytes;
  }

 private:
  Napi::Env env_;
  uint64_t bytes_ = 0;
};

}  // namespace pointsman::addon
