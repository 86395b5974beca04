// The device: whether there is one that will do, its memory under a budget, and what its errors mean here.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "pointsman/error.hpp"

namespace pointsman::cuda {

class Device;

// A piece of memory that nobody else owns; `Free` gives it back: free(data, bytes).
template <typename Free>
class Piece {
 public:
  Piece() = default;
  Piece(void* data, size_t bytes, Free free) : data_(data), bytes_(bytes), free_(free) {}
  Piece(Piece&& other) noexcept { *this = std::move(other); }
  Piece& operator=(Piece&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(free_, other.free_);
    return *this;
  }
  ~Piece() {
    if (data_ != nullptr) free_(data_, bytes_);
  }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Free free_{};
};

struct ToBudget {
  Device* device = nullptr;
  void operator()(void* data, size_t bytes) const noexcept;
};
struct FreeHost {
  void operator()(void* data, size_t) const noexcept { cudaFreeHost(data); }
};
// Device memory, given back to the budget when it goes. Whoever lets it go sees to it that no kernel uses it.
using Memory = Piece<ToBudget>;
// Host memory that the device reads and writes by itself.
using Pinned = Piece<FreeHost>;

class Device {
 public:
  // The first device that the process may see. `budget` 0: POINTSMAN_CUDA_MEMORY (bytes, or with K, M, G), or
  // nine tenths of what is free. Throws BACKEND_UNAVAILABLE with the reason.
  explicit Device(size_t budget);
  ~Device();
  Device(const Device&) = delete;

  // Makes this the calling thread's device. Throws what has broken the device, if anything has.
  void use();
  // Throws OUT_OF_MEMORY or BACKEND_UNAVAILABLE for what is not cudaSuccess. After an error that the device
  // does not recover from, every later use fails with its words.
  void check(cudaError_t error, const char* what);

  // Throws OUT_OF_MEMORY past the budget. To be used by a stream only after `uploads()` was synchronised.
  Memory allocate(size_t bytes);
  Pinned allocate_pinned(size_t bytes);
  size_t budget() const { return budget_; }
  size_t used() const { return used_.load(); }
  // The most dynamic shared memory of a block of threads.
  size_t shared_memory() const { return shared_memory_; }
  // Transfers to the device, and the order of its memory being taken and given back.
  cudaStream_t uploads() const { return uploads_; }
  const std::string& description() const { return description_; }

 private:
  friend struct ToBudget;
  void release(void* data, size_t bytes) noexcept;

  size_t budget_ = 0, shared_memory_ = 0;
  std::atomic<size_t> used_{0};
  cudaMemPool_t pool_ = nullptr;
  cudaStream_t uploads_ = nullptr;
  std::string description_;
  std::mutex broken_mutex_;
  std::string broken_;
};

// A stream that waits for no other.
class Stream {
 public:
  explicit Stream(Device& device);
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(Device& device);
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace pointsman::cuda
