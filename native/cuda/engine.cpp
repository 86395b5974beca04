#include "cuda/engine.hpp"

#include "cuda/kernels.hpp"
#include "cuda/search.hpp"

namespace pointsman::cuda {
namespace {

// Searches that run at once: while one waits for its results, another computes.
constexpr size_t kLanes = 3;

}  // namespace

Engine::Engine(const Limits& limits) : limits_(limits), device_(limits.memory), residency_(device_) {
  for (uint32_t i = 0; i < kScanKernelCount; ++i) {
    device_.check(kScanKernels[i].prepare(device_.shared_memory()), "a kernel cannot run on this device");
  }
}

Lane& Engine::enter() {
  std::unique_lock lock(mutex_);
  if (free_.empty() && lanes_.size() < kLanes) {
    lanes_.reserve(kLanes);
    free_.reserve(kLanes);
    lanes_.push_back(std::make_unique<Lane>(device_));
    return *lanes_.back();
  }
  freed_.wait(lock, [&] { return !free_.empty(); });
  Lane* lane = free_.back();
  free_.pop_back();
  return *lane;
}

void Engine::leave(Lane& lane) noexcept {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(&lane);
  }
  freed_.notify_one();
}

Report Engine::search(const pointsman_request& request, const char* kernel) {
  device_.use();
  Lane& lane = enter();
  struct Leave {
    Engine& engine;
    Lane& lane;
    ~Leave() { engine.leave(lane); }
  } leaves{*this, lane};
  return Search(*this, lane, request, kernel).run();
}

}  // namespace pointsman::cuda
