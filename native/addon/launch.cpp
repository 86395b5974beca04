// Work on the pool that settles a promise: jobs, and the channel by which they come back to JavaScript.
#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>

#include "boundary.hpp"

namespace pointsman::addon {
namespace {

struct Job;

struct Message {
  std::shared_ptr<Job> job;
  bool end = false;          // else: progress
  Settle settle;             // set: the job has ended well
  std::exception_ptr error;  // set: the job has failed
};

// One launched job, held by the pool's closure, by its messages and by its cancel function. Its Napi members
// are touched on the JavaScript thread only, and let go there when the job ends; should the environment end
// first, they are left to it (SuppressDestruct): by then no thread may call into it.
struct Job {
  Cancel cancel;
  Work work;
  std::shared_ptr<Channel> channel;

  std::unique_ptr<Message> last;  // made beforehand: ending must not need memory
  std::optional<Napi::Promise::Deferred> deferred;
  Napi::FunctionReference on_progress;

  std::mutex mutex;  // guards what follows
  uint64_t done = 0, total = 0;
  bool progress_pending = false;
  std::chrono::steady_clock::time_point last_progress{};
};

void receive(napi_env env, napi_value, void* context, void* data);

}  // namespace

// One thread-safe function for all jobs of an environment, referenced (so that the event loop stays) while
// any runs. When the environment ends, Node deletes the function whatever threads still hold it: `close`
// comes before that, and `post` after it does nothing. Jobs that have not come back by then are left: their
// Napi values die with it.
class Channel {
 public:
  static std::shared_ptr<Channel> make(napi_env env) {
    auto channel = std::make_shared<Channel>();
    napi_value name;
    napi_create_string_utf8(env, "pointsman", NAPI_AUTO_LENGTH, &name);
    auto* keep = new std::shared_ptr<Channel>(channel);
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, name, 0, 1, keep,
        [](napi_env, void* data, void*) {
          auto* held = static_cast<std::shared_ptr<Channel>*>(data);
          (*held)->close();
          delete held;
        },
        channel.get(), receive, &channel->function_);
    if (status != napi_ok) {
      delete keep;
      throw Error(Code::INTERNAL, "no thread-safe function could be made");
    }
    napi_unref_threadsafe_function(env, channel->function_);
    return channel;
  }

  // On the JavaScript thread.
  void begin(napi_env env) {
    if (running_++ == 0) napi_ref_threadsafe_function(env, function_);
  }
  void end(napi_env env) {
    if (--running_ == 0) napi_unref_threadsafe_function(env, function_);
  }

  // On any thread. Dropped when the environment has ended.
  void post(std::unique_ptr<Message> message) {
    std::lock_guard lock(mutex_);
    if (!closed_ &&
        napi_call_threadsafe_function(function_, message.get(), napi_tsfn_nonblocking) == napi_ok) {
      message.release();
    }
  }

 private:
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }

  napi_threadsafe_function function_ = nullptr;
  uint64_t running_ = 0;
  std::mutex mutex_;
  bool closed_ = false;
};

Environment::Environment(Napi::Env env) : channel(Channel::make(env)) {}

namespace {

void settle(Napi::Env env, Message& message) {
  Job& job = *message.job;
  try {
    if (message.error) std::rethrow_exception(message.error);
    job.deferred->Resolve(message.settle(env));
  } catch (const Napi::Error& error) {
    job.deferred->Reject(error.Value());
  } catch (const std::exception& error) {
    job.deferred->Reject(to_js_error(env, error).Value());
  }
}

void tell_progress(Napi::Env env, Job& job) {
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

// On the JavaScript thread. `env` is null when the environment is going away: then nothing may be called. A
// worker that is being terminated refuses calls before that, by exceptions that nobody is left to hear of.
void receive(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (env == nullptr) return;
  Job& job = *message->job;
  try {
    const Napi::HandleScope scope(env);
    if (!message->end) {
      tell_progress(env, job);
      return;
    }
    static_cast<Channel*>(context)->end(env);
    settle(env, *message);
    job.on_progress.Reset();
  } catch (const Napi::Error&) {
  }
}

void report(const std::shared_ptr<Job>& job, uint64_t done, uint64_t total) {
  {
    std::lock_guard lock(job->mutex);
    job->done = std::max(done, job->total == total ? job->done : 0);
    job->total = total;
    const auto now = std::chrono::steady_clock::now();
    if (job->progress_pending || (done < total && now - job->last_progress < std::chrono::milliseconds(50))) {
      return;
    }
    job->progress_pending = true;
    job->last_progress = now;
  }
  auto message = std::make_unique<Message>();
  message->job = job;
  job->channel->post(std::move(message));
}

void finish(const std::shared_ptr<Job>& job, Settle settle, std::exception_ptr error) {
  auto message = std::move(job->last);
  message->job = job;
  message->end = true;
  message->settle = std::move(settle);
  message->error = std::move(error);
  job->channel->post(std::move(message));
}

void run(const std::shared_ptr<Job>& job, bool with_progress) {
  Settle settle;
  std::exception_ptr error;
  try {
    Progress progress;
    if (with_progress) {
      progress = [&job](uint64_t done, uint64_t total) { report(job, done, total); };
    }
    job->cancel.check();
    settle = job->work(job->cancel, progress);
  } catch (...) {
    error = std::current_exception();
  }
  job->work = nullptr;  // what it captured is freed here, not on the JavaScript thread
  finish(job, std::move(settle), std::move(error));
}

std::shared_ptr<Job> make_job(Napi::Env env) {
  auto job = std::make_shared<Job>();
  job->channel = environment(env).channel;
  job->deferred.emplace(Napi::Promise::Deferred::New(env));
  job->last = std::make_unique<Message>();
  return job;
}

Napi::Object handle_of(Napi::Env env, const std::shared_ptr<Job>& job) {
  auto handle = Napi::Object::New(env);
  handle.Set("promise", job->deferred->Promise());
  handle.Set("cancel", Napi::Function::New(env, [job](const Napi::CallbackInfo&) { job->cancel.request(); }));
  return handle;
}

}  // namespace

Napi::Value launch(Napi::Env env, const Napi::Value& on_progress, Work work,
                   const std::shared_ptr<Strand>& strand) {
  const auto job = make_job(env);
  job->work = std::move(work);
  const bool with_progress = on_progress.IsFunction();
  if (with_progress) {
    job->on_progress = Napi::Persistent(on_progress.As<Napi::Function>());
    job->on_progress.SuppressDestruct();
  }
  const auto handle = handle_of(env, job);
  auto body = [job, with_progress] { run(job, with_progress); };
  if (strand) {
    strand->submit(std::move(body));
  } else {
    ThreadPool::shared().submit(std::move(body));
  }
  job->channel->begin(env);  // in time: the end can only come back on this thread
  return handle;
}

Napi::Value launch(Napi::Env env, const std::function<void(std::shared_ptr<const Cancel>, End)>& start) {
  const auto job = make_job(env);
  const auto handle = handle_of(env, job);
  start({job, &job->cancel},
        [job](Settle settle, std::exception_ptr error) { finish(job, std::move(settle), std::move(error)); });
  job->channel->begin(env);
  return handle;
}

}  // namespace pointsman::addon
