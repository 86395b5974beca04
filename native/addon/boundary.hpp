// What every binding needs at the wall between JavaScript and C++: errors with a stable `code`, arguments
// checked for memory safety (whatever TypeScript promised), and work on the pool that settles a promise.
#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "pointsman/error.hpp"
#include "pointsman/task.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
class Index;
}

namespace pointsman::addon {

// A JavaScript Error with `code`; OUT_OF_MEMORY and INTERNAL for exceptions that carry none.
Napi::Error to_js_error(Napi::Env env, const std::exception& error);

// Runs `body`, turning every C++ exception into a pending JavaScript one. The body of each exported function.
Napi::Value guarded(const Napi::CallbackInfo& info, const std::function<Napi::Value()>& body);

// The elements of a typed array, at its own byte offset. Throws BAD_ARGUMENT for any other value and
// DETACHED_BUFFER for an array whose buffer is gone. Valid until JavaScript runs again: copy what must stay.
std::span<const float> floats(const Napi::Value& value, const char* name);
std::span<const uint32_t> words(const Napi::Value& value, const char* name);
std::span<const uint8_t> bytes(const Napi::Value& value, const char* name);

// Integers that JavaScript holds as a double; throws BAD_ARGUMENT outside [low, high].
int64_t integer(const Napi::Value& value, const char* name, int64_t low, int64_t high);
// A finite number.
double number(const Napi::Value& value, const char* name);
// UTF-8; lone surrogates become U+FFFD.
std::string text(const Napi::Value& value, const char* name);

// Wrapped objects carry a tag of their class, so that one is never taken for another whatever prototype
// JavaScript gave it: `tag` in the constructor, `check_tag` wherever one comes in as argument or as `this`.
void tag(const Napi::Value& object, const napi_type_tag& type);
void check_tag(const Napi::Value& object, const napi_type_tag& type, const char* name);

template <typename T>
T& unwrap(const Napi::Value& value, const char* name) {
  check_tag(value, T::kTag, name);
  return *T::Unwrap(value.As<Napi::Object>());
}

// The body of a method of class T.
template <typename T>
Napi::Value method(const Napi::CallbackInfo& info, const std::function<Napi::Value()>& body) {
  return guarded(info, [&] {
    check_tag(info.This(), T::kTag, "this");
    return body();
  });
}

// Builds the promise's value on the JavaScript thread.
using Settle = std::function<Napi::Value(Napi::Env)>;
// Runs on a thread of the pool. May throw; what it throws rejects the promise.
using Work = std::function<Settle(const Cancel& cancel, const Progress& progress)>;

// Starts `work` and returns { promise, cancel() }. `on_progress` is a function (done, total), called on the
// JavaScript thread at most every 50 ms and once at the end of each total, or undefined. The promise is
// settled exactly once, also when the environment (a worker thread) ends first: then nothing more is called
// into JavaScript. With a strand, jobs of that strand run one after another in the order of their launch.
Napi::Value launch(Napi::Env env, const Napi::Value& on_progress, Work work,
                   const std::shared_ptr<Strand>& strand = nullptr);

// The same for work that is done elsewhere: `start` is called at once and sees to it that `end` is called
// once, on any thread, with what builds the promise's value or with what went wrong.
using End = std::function<void(Settle, std::exception_ptr)>;
Napi::Value launch(Napi::Env env,
                   const std::function<void(std::shared_ptr<const Cancel> cancel, End end)>& start);

// What one environment (the main thread, each worker thread) keeps.
class Channel;
struct Environment {
  explicit Environment(Napi::Env env);
  std::shared_ptr<Channel> channel;       // how launched work comes back
  Napi::FunctionReference filter, index;  // classes that native code makes objects of
  std::shared_ptr<Index> opened;          // for the next Index object to take over
};
inline Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void init_index(Napi::Env env, Napi::Object exports);
void init_text(Napi::Env env, Napi::Object exports);
void init_train(Napi::Env env, Napi::Object exports);
void init_implicit(Napi::Env env, Napi::Object exports);

}  // namespace pointsman::addon
