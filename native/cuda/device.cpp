#include "cuda/device.hpp"

#include <cerrno>
#include <cstdlib>

namespace pointsman::cuda {
namespace {

constexpr int kDevice = 0;  // CUDA_VISIBLE_DEVICES chooses another
constexpr int kOldestMajor = 8;
constexpr size_t kLeastMemory = size_t{1} << 20;

std::string words(cudaError_t error) {
  return std::string(cudaGetErrorName(error)) + " (" + std::to_string(static_cast<int>(error)) + "), " +
         cudaGetErrorString(error);
}

[[noreturn]] void unavailable(const std::string& reason) { throw Error(Code::BACKEND_UNAVAILABLE, reason); }

void need(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  unavailable(std::string(what) + ": " + words(error));
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  need(cudaDeviceGetAttribute(&value, which, kDevice), "the device does not tell what it is");
  return value;
}

// Bytes, or with a K, M or G behind them; 0 when there is no such variable.
size_t memory_variable() {
  const char* text = std::getenv("POINTSMAN_CUDA_MEMORY");
  if (text == nullptr || *text == '\0') return 0;
  char* end = nullptr;
  errno = 0;
  const unsigned long long number = std::strtoull(text, &end, 10);
  const std::string unit = end;
  const int shift = unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : 0;
  if (end == text || *text == '-' || errno != 0 || number == 0 || number > SIZE_MAX >> shift ||
      (shift == 0 && !unit.empty())) {
    unavailable(std::string("POINTSMAN_CUDA_MEMORY must be a number of bytes, or one with K, M or G, not '") +
                text + "'");
  }
  return static_cast<size_t>(number) << shift;
}

}  // namespace

Device::Device(size_t budget) : budget_(budget != 0 ? budget : memory_variable()) {
  int count = 0;  // stays as it is where there is no driver
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    int runtime = 0, driver = 0;
    cudaRuntimeGetVersion(&runtime);
    cudaDriverGetVersion(&driver);
    if (driver == 0) unavailable("there is no NVIDIA driver: " + words(error));
    unavailable("the driver cannot be used: " + words(error) + " (driver for CUDA " + std::to_string(driver) +
                ", plugin of CUDA " + std::to_string(runtime) + ")");
  }
  if (count == 0) unavailable("there is no NVIDIA device");
  need(cudaSetDevice(kDevice), "the device cannot be used");
  cudaDeviceProp properties;
  need(cudaGetDeviceProperties(&properties, kDevice), "the device does not tell what it is");
  const int major = attribute(cudaDevAttrComputeCapabilityMajor);
  const int minor = attribute(cudaDevAttrComputeCapabilityMinor);
  description_ = std::string(properties.name) + ", compute capability " + std::to_string(major) + "." +
                 std::to_string(minor);
  if (major < kOldestMajor) unavailable(description_ + ": 8.0 is the least");
  if (attribute(cudaDevAttrMemoryPoolsSupported) == 0) unavailable(description_ + " has no memory pools");
  shared_memory_ = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));

  size_t free = 0, total = 0;
  need(cudaMemGetInfo(&free, &total), "the device does not tell its memory");
  if (budget_ == 0) budget_ = free / 10 * 9;
  if (budget_ < kLeastMemory) {
    unavailable("too little device memory: " + std::to_string(budget_) + " bytes may be used, " +
                std::to_string(kLeastMemory) + " are the least");
  }
  // One pool that keeps what it has: blocks come and go while searches run.
  cudaMemPoolProps wanted{};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.location.type = cudaMemLocationTypeDevice;
  wanted.location.id = kDevice;
  need(cudaStreamCreateWithFlags(&uploads_, cudaStreamNonBlocking), "no stream can be made");
  if (const cudaError_t failed = cudaMemPoolCreate(&pool_, &wanted)) {
    cudaStreamDestroy(uploads_);
    need(failed, "no memory pool can be made");
  }
  uint64_t keep = budget_;
  cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep);  // at worst, it is slower
}

Device::~Device() {
  cudaStreamSynchronize(uploads_);
  cudaMemPoolDestroy(pool_);
  cudaStreamDestroy(uploads_);
}

void Device::use() {
  {
    std::lock_guard lock(broken_mutex_);
    if (!broken_.empty()) unavailable(broken_);
  }
  check(cudaSetDevice(kDevice), "the device cannot be used");
}

void Device::check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // what is not lasting is forgotten
  const std::string text = std::string(what) + ": " + words(error);
  if (error == cudaErrorMemoryAllocation) throw Error(Code::OUT_OF_MEMORY, "device memory ran out: " + text);
  if (cudaDeviceSynchronize() != cudaSuccess) {
    std::lock_guard lock(broken_mutex_);
    if (broken_.empty()) broken_ = "the device has failed: " + text;
  }
  unavailable(text);
}

Memory Device::allocate(size_t bytes) {
  const size_t before = used_.fetch_add(bytes);
  if (before + bytes > budget_) {
    used_ -= bytes;
    throw Error(Code::OUT_OF_MEMORY, "device memory ran out: " + std::to_string(bytes) + " bytes more than " +
                                         std::to_string(before) + " exceed the budget of " +
                                         std::to_string(budget_));
  }
  void* data = nullptr;
  const cudaError_t error = cudaMallocFromPoolAsync(&data, bytes, pool_, uploads_);
  if (error != cudaSuccess) used_ -= bytes;
  check(error, "allocation");
  return {data, bytes, {this}};
}

void Device::release(void* data, size_t bytes) noexcept {
  cudaFreeAsync(data, uploads_);
  used_ -= bytes;
}

void ToBudget::operator()(void* data, size_t bytes) const noexcept { device->release(data, bytes); }

Pinned Device::allocate_pinned(size_t bytes) {
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), "allocation of pinned memory");
  return {data, bytes, {}};
}

Stream::Stream(Device& device) {
  device.check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "no stream can be made");
}

Event::Event(Device& device) { device.check(cudaEventCreate(&event_), "no event can be made"); }

}  // namespace pointsman::cuda
