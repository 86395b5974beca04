#include "boundary.hpp"

#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>
#include <new>
#include <optional>

namespace pointsman::addon {

Napi::Error to_js_error(Napi::Env env, const std::exception& error) {
  const char* code = "INTERNAL";
  std::string message = error.what();
  if (const auto* ours = dynamic_cast<const Error*>(&error)) {
    code = code_name(ours->code());
  } else if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const std::length_error*>(&error)) {
    code = code_name(Code::OUT_OF_MEMORY);
    message = "memory ran out; nothing was changed";
  }
  Napi::Error js = Napi::Error::New(env, message);
  js.Value().Set("code", Napi::String::New(env, code));
  return js;
}

Napi::Value guarded(const Napi::CallbackInfo& info, const std::function<Napi::Value()>& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw to_js_error(info.Env(), error);
  }
}

namespace {

// napi_get_typedarray_info reports a null pointer and length 0 for a detached buffer, as it does for an empty
// array: only the buffer can tell the two apart.
template <typename T>
std::span<const T> elements(const Napi::Value& value, const char* name, napi_typedarray_type wanted,
                            const char* wanted_name) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  size_t offset = 0;
  bool is_typed_array = false;
  const napi_env env = value.Env();
  if (value.IsEmpty() || napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, &offset) != napi_ok ||
      type != wanted) {
    throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a " + wanted_name);
  }
  bool detached = false;
  bool is_array_buffer = false;
  // A SharedArrayBuffer cannot be detached, and the check does not take one.
  if (napi_is_arraybuffer(env, buffer, &is_array_buffer) == napi_ok && is_array_buffer &&
      napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && detached) {
    throw Error(Code::DETACHED_BUFFER, std::string(name) + "'s buffer was transferred away");
  }
  if (length == 0 || data == nullptr) return {};
  return {static_cast<const T*>(data), length};
}

}  // namespace

std::span<const float> floats(const Napi::Value& value, const char* name) {
  return elements<float>(value, name, napi_float32_array, "Float32Array");
}

std::span<const uint32_t> words(const Napi::Value& value, const char* name) {
  return elements<uint32_t>(value, name, napi_uint32_array, "Uint32Array");
}

std::span<const uint8_t> bytes(const Napi::Value& value, const char* name) {
  return elements<uint8_t>(value, name, napi_uint8_array, "Uint8Array");
}

double number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a number");
  const double x = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(x)) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be finite");
  return x;
}

int64_t integer(const Napi::Value& value, const char* name, int64_t low, int64_t high) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high)) || x != std::floor(x)) {
    throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an integer from " + std::to_string(low) +
                                        " to " + std::to_string(high));
  }
  return static_cast<int64_t>(x);
}

std::string text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

namespace {

// One launched job. Owned by shared_ptr: the pool's closure, the messages on their way to JavaScript and the
// cancel function each hold it. Napi references in it are touched on the JavaScript thread only.
struct Job {
  Cancel cancel;
  Work work;
  napi_threadsafe_function channel = nullptr;

  std::optional<Napi::Promise::Deferred> deferred;
  Napi::FunctionReference on_progress;

  std::mutex mutex;  // guards what follows
  uint64_t done = 0, total = 0;
  bool progress_pending = false;
  std::chrono::steady_clock::time_point last_progress{};
};

struct Message {
  std::shared_ptr<Job> job;
  Settle settle;             // set: the job has ended well
  std::exception_ptr error;  // set: the job has failed; neither: progress
};

void settle_on_js(napi_env raw_env, Message& message) {
  const Napi::Env env(raw_env);
  Job& job = *message.job;
  if (message.error) {
    try {
      std::rethrow_exception(message.error);
    } catch (const std::exception& error) {
      job.deferred->Reject(to_js_error(env, error).Value());
    } catch (...) {
      job.deferred->Reject(to_js_error(env, std::runtime_error("unknown exception")).Value());
    }
    return;
  }
  try {
    job.deferred->Resolve(message.settle(env));
  } catch (const Napi::Error& error) {
    job.deferred->Reject(error.Value());
  } catch (const std::exception& error) {
    job.deferred->Reject(to_js_error(env, error).Value());
  }
}

// On the JavaScript thread. `env` is null when the environment is going away: then only free.
void receive(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (env == nullptr) return;
  Job& job = *message->job;
  const Napi::HandleScope scope(env);
  if (message->settle || message->error) {
    settle_on_js(env, *message);
    job.on_progress.Reset();
    return;
  }
  uint64_t done, total;
  {
    std::lock_guard lock(job.mutex);
    job.progress_pending = false;
    done = job.done;
    total = job.total;
  }
  if (job.on_progress.IsEmpty()) return;
  try {
    job.on_progress.Call({Napi::Number::New(env, static_cast<double>(done)),
                          Napi::Number::New(env, static_cast<double>(total))});
  } catch (const Napi::Error& error) {
    // A throwing listener stops the work it listens to, and is reported as any uncaught exception is.
    job.cancel.request();
    napi_fatal_exception(env, error.Value());
  }
}

void send(const std::shared_ptr<Job>& job, std::unique_ptr<Message> message) {
  message->job = job;
  if (napi_call_threadsafe_function(job->channel, message.get(), napi_tsfn_nonblocking) == napi_ok) {
    message.release();
  }
}

void report(const std::shared_ptr<Job>& job, uint64_t done, uint64_t total) {
  {
    std::lock_guard lock(job->mutex);
    job->done = std::max(done, job->total == total ? job->done : 0);
    job->total = total;
    const auto now = std::chrono::steady_clock::now();
    if (job->progress_pending ||
        (done < total && now - job->last_progress < std::chrono::milliseconds(50))) {
      return;
    }
    job->progress_pending = true;
    job->last_progress = now;
  }
  send(job, std::make_unique<Message>());
}

void run(const std::shared_ptr<Job>& job, bool with_progress) {
  auto message = std::make_unique<Message>();
  try {
    Progress progress;
    if (with_progress) {
      progress = [&job](uint64_t done, uint64_t total) { report(job, done, total); };
    }
    job->cancel.check();
    message->settle = job->work(job->cancel, progress);
  } catch (...) {
    message->error = std::current_exception();
  }
  job->work = nullptr;  // what it captured is freed here, not on the JavaScript thread
  send(job, std::move(message));
  napi_release_threadsafe_function(job->channel, napi_tsfn_release);
}

}  // namespace

Napi::Value launch(Napi::Env env, const Napi::Value& on_progress, Work work,
                   const std::shared_ptr<Strand>& strand) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->deferred.emplace(Napi::Promise::Deferred::New(env));
  const bool with_progress = on_progress.IsFunction();
  if (with_progress) job->on_progress = Napi::Persistent(on_progress.As<Napi::Function>());

  const auto name = Napi::String::New(env, "pointsman");
  // A channel for each job: it keeps the event loop alive while the job runs, and no longer. Its finaliser
  // runs on the JavaScript thread and drops the last native references there.
  auto* keep = new std::shared_ptr<Job>(job);
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, name, 0, 1, keep,
      [](napi_env, void* data, void*) {
        auto* held = static_cast<std::shared_ptr<Job>*>(data);
        (*held)->deferred.reset();
        (*held)->on_progress.Reset();
        delete held;
      },
      nullptr, receive, &job->channel);
  if (status != napi_ok) {
    delete keep;
    throw Error(Code::INTERNAL, "no thread-safe function could be made");
  }
  auto body = [job, with_progress] { run(job, with_progress); };
  if (strand) {
    strand->submit(std::move(body));
  } else {
    ThreadPool::shared().submit(std::move(body));
  }

  auto handle = Napi::Object::New(env);
  handle.Set("promise", job->deferred->Promise());
  handle.Set("cancel", Napi::Function::New(env, [job](const Napi::CallbackInfo&) { job->cancel.request(); }));
  return handle;
}

}  // namespace pointsman::addon
