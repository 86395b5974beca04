// The plugin's table (pointsman/backend.hpp): one engine for the process, made at the first probe and never
// unmade. No exception leaves it.
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>

#include "cuda/engine.hpp"
#include "cuda/self_check.hpp"

namespace pointsman::cuda {
namespace {

Engine* engine = nullptr;  // once the probe has succeeded

int fail(Code code, const char* text, char* message, size_t capacity) {
  if (capacity > 0) {
    std::strncpy(message, text, capacity - 1);
    message[capacity - 1] = '\0';
  }
  return static_cast<int>(code) + 1;
}

// Runs `body`; what it throws becomes a code and a message.
template <typename Body>
int guarded(char* message, size_t capacity, const Body& body) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    return fail(error.code(), error.what(), message, capacity);
  } catch (const std::bad_alloc&) {
    return fail(Code::OUT_OF_MEMORY, "memory ran out; nothing was changed", message, capacity);
  } catch (const std::exception& error) {
    return fail(Code::INTERNAL, error.what(), message, capacity);
  } catch (...) {
    return fail(Code::INTERNAL, "an unknown exception", message, capacity);
  }
}

int probe(char* reason, size_t capacity) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (engine != nullptr) return 0;
  return guarded(reason, capacity, [] {
    auto made = std::make_unique<Engine>();
    check_itself(*made);
    engine = made.release();
  });
}

int search(const pointsman_request* request, char* message, size_t capacity) {
  return guarded(message, capacity, [&] {
    if (engine == nullptr) throw Error(Code::BACKEND_UNAVAILABLE, "the backend was not probed");
    engine->search(*request);
  });
}

void forget(uint64_t block) {
  if (engine != nullptr) engine->forget(block);
}

}  // namespace
}  // namespace pointsman::cuda

extern "C" __attribute__((visibility("default"))) const pointsman_backend pointsman_backend_table;
const pointsman_backend pointsman_backend_table = {
    POINTSMAN_BACKEND_ABI,  "cuda", 4096, 4096, pointsman::cuda::probe, pointsman::cuda::search,
    pointsman::cuda::forget};
