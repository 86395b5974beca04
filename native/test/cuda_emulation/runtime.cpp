// The runtime: memory, streams, events and errors of the emulated device.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "device.hpp"

struct EmulatedStream {
  std::deque<std::function<void()>> queue;
};
struct EmulatedEvent {
  EmulatedStream* stream = nullptr;
  std::chrono::steady_clock::time_point happened{};
};
struct EmulatedPool {};

namespace emulation {
namespace {

std::recursive_mutex mutex;  // one device, one thing at a time
uint64_t state = 1, call_count = 0, failing = 0;
cudaError_t failure = cudaSuccess, lasting = cudaSuccess, last = cudaSuccess;
Machine the_machine;
std::unordered_map<void*, size_t> memory;
size_t memory_used = 0;

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

// What a call that can fail begins with.
cudaError_t enter() {
  if (lasting != cudaSuccess) return answer(lasting);
  ++call_count;
  if (failing == 0 || --failing > 0) return cudaSuccess;
  if (failure == cudaErrorIllegalAddress || failure == cudaErrorLaunchFailure) lasting = failure;
  return answer(failure);
}

void drain(EmulatedStream* stream) {
  while (!stream->queue.empty()) {
    const auto work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work();
  }
}

cudaError_t queue(EmulatedStream* stream, std::function<void()> work) {
  stream->queue.push_back(std::move(work));
  if (draw(4) == 0) drain(stream);
  return cudaSuccess;
}

}  // namespace

uint32_t draw(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>((state >> 32) * below >> 32);
}

void poison(void* data, size_t bytes) { std::memset(data, 0xCB, bytes); }

void reset(uint64_t seed) {
  const Lock lock(mutex);
  state = seed * 0x9E3779B97F4A7C15ull | 1;
  call_count = failing = 0;
  failure = lasting = last = cudaSuccess;
  the_machine = {};
}

void fail_at(uint64_t n, cudaError_t error) {
  const Lock lock(mutex);
  failing = n;
  failure = error;
}

uint64_t calls() { return call_count; }
Machine& machine() { return the_machine; }
size_t allocated() { return memory_used; }

cudaError_t queue_kernel(cudaStream_t stream, dim3 grid, dim3 block, size_t shared,
                         std::function<void()> body) {
  const Lock lock(mutex);
  if (const cudaError_t error = enter()) return error;
  if (grid.x == 0 || grid.y == 0 || grid.y > 65535 || block.x == 0 || block.x > 1024 ||
      shared > the_machine.shared_memory || block.x % kWarp != 0) {
    return answer(cudaErrorInvalidValue);
  }
  return queue(stream, [=] { run_kernel(grid, block, shared, body); });
}

}  // namespace emulation

using emulation::answer;
using emulation::enter;
using emulation::Lock;

cudaError_t cudaGetDeviceCount(int* count) {
  if (emulation::the_machine.driver != cudaSuccess) return answer(emulation::the_machine.driver);
  *count = emulation::the_machine.devices;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  const Lock lock(emulation::mutex);
  return enter();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const Lock lock(emulation::mutex);
  std::strcpy(properties->name, "emulated device");
  return enter();
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const Lock lock(emulation::mutex);
  const auto& machine = emulation::the_machine;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = machine.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = machine.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(machine.shared_memory); break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
  }
  return enter();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(emulation::mutex);
  *total = emulation::the_machine.memory;
  *free = *total - emulation::memory_used;
  return enter();
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulation::the_machine.driver_version;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(emulation::mutex);
  return emulation::lasting;
}
cudaError_t cudaGetLastError() {
  const Lock lock(emulation::mutex);
  return std::exchange(emulation::last, cudaSuccess);
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    default: return "an error";
  }
}
const char* cudaGetErrorString(cudaError_t) { return "as the emulation was told"; }

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  *pool = new EmulatedPool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  const Lock lock(emulation::mutex);
  return enter();
}
cudaError_t cudaMallocFromPoolAsync(void** data, size_t bytes, cudaMemPool_t, cudaStream_t) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  if (bytes > emulation::the_machine.memory - emulation::memory_used)
    return answer(cudaErrorMemoryAllocation);
  *data = std::malloc(bytes);
  emulation::poison(*data, bytes);
  emulation::memory[*data] = bytes;
  emulation::memory_used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  return emulation::queue(stream, [data] {
    emulation::memory_used -= emulation::memory.at(data);
    emulation::memory.erase(data);
    std::free(data);
  });
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  *data = std::malloc(bytes);
  emulation::poison(*data, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  return emulation::queue(stream, [=] {
    if (bytes > 0) std::memcpy(to, from, bytes);
  });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  return emulation::queue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  if (stream == nullptr) return cudaSuccess;
  emulation::drain(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  const cudaError_t error = enter();
  emulation::drain(stream);  // also where it fails: what is under way ends some time
  return error;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  event->stream = stream;
  return emulation::queue(stream, [event] { event->happened = std::chrono::steady_clock::now(); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(emulation::mutex);
  if (const cudaError_t error = enter()) return error;
  if (event->stream != nullptr) emulation::drain(event->stream);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Lock lock(emulation::mutex);
  *milliseconds = std::chrono::duration<float, std::milli>(end->happened - begin->happened).count();
  return enter();
}
