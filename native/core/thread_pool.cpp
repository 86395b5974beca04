#include "pointsman/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <system_error>
#include <thread>

namespace pointsman {
namespace {

unsigned pool_size() {
  if (const char* text = std::getenv("POINTSMAN_THREADS")) {
    const long threads = std::strtol(text, nullptr, 10);
    if (threads >= 1 && threads <= 1024) return static_cast<unsigned>(threads);
  }
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// With POINTSMAN_PIN_THREADS=1 thread i stays on the i-th processor that this process may use: for
// benchmarks, and for services that leave a processor free for JavaScript. Where the system refuses, threads
// move as they would have.
void pin_if_asked(unsigned thread) {
#ifdef __linux__
  const char* asked = std::getenv("POINTSMAN_PIN_THREADS");
  cpu_set_t allowed;
  if (asked == nullptr || std::strcmp(asked, "1") != 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return;
  unsigned left = thread % static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
#else
  (void)thread;
#endif
}

// One parallel_for. Helpers hold it by shared_ptr: one that wakes after the loop has ended finds it closed.
struct Loop {
  Loop(size_t n, const std::function<void(size_t, unsigned)>& f) : count(n), body(f) {}

  const size_t count;
  const std::function<void(size_t, unsigned)>& body;  // valid while not closed
  std::atomic<size_t> next{0};

  std::mutex mutex;
  std::condition_variable idle;
  unsigned slots = 0;    // given out so far
  unsigned running = 0;  // helpers inside run()
  bool closed = false;
  std::exception_ptr error;

  void run(unsigned slot) {
    try {
      for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i, slot);
    } catch (...) {
      next.store(count, std::memory_order_relaxed);
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void help() {
    unsigned slot;
    {
      std::lock_guard lock(mutex);
      if (closed || next.load(std::memory_order_relaxed) >= count) return;
      slot = slots++;
      ++running;
    }
    run(slot);
    std::lock_guard lock(mutex);
    if (--running == 0) idle.notify_all();
  }
};

}  // namespace

ThreadPool& ThreadPool::shared() {
  static ThreadPool* pool = new ThreadPool(pool_size());
  return *pool;
}

ThreadPool::ThreadPool(unsigned size) {
  try {
    for (; size_ < size; ++size_) {
      std::thread([this, thread = size_] {
        pin_if_asked(thread);
        work();
      }).detach();
    }
  } catch (const std::system_error&) {
    // The system gives no more threads: fewer do, none cannot.
    if (size_ == 0) throw;
  }
}

void ThreadPool::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !queue_.empty(); });
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
  }
}

void ThreadPool::submit(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void ThreadPool::parallel_for(size_t count, unsigned threads,
                              const std::function<void(size_t, unsigned)>& body) {
  threads = static_cast<unsigned>(std::min<size_t>(std::max(1u, threads), count));
  if (threads <= 1) {
    for (size_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  auto loop = std::make_shared<Loop>(count, body);
  loop->slots = 1;  // slot 0 is the caller's
  {
    // Ahead of whole jobs: loops already begun finish before new work starts.
    std::lock_guard lock(mutex_);
    try {
      for (unsigned i = 1; i < threads; ++i) queue_.push_front([loop] { loop->help(); });
    } catch (const std::bad_alloc&) {
      // Fewer helpers: those that are queued hold `body` and must be waited for.
    }
  }
  if (threads == 2) {
    wake_.notify_one();
  } else {
    wake_.notify_all();
  }
  loop->run(0);
  std::unique_lock lock(loop->mutex);
  loop->closed = true;
  loop->idle.wait(lock, [&] { return loop->running == 0; });
  // Taken out: a helper's job may be the last to let go of the loop, and the error belongs to this thread
  // alone.
  if (auto error = std::move(loop->error)) std::rethrow_exception(std::move(error));
}

void Strand::submit(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
    if (running_) return;
    running_ = true;
  }
  try {
    ThreadPool::shared().submit([self = shared_from_this()] { self->run(); });
  } catch (...) {
    std::lock_guard lock(mutex_);
    running_ = false;
    queue_.pop_back();
    throw;
  }
}

void Strand::run() {
  for (;;) {
    std::function<void()> job;
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        running_ = false;
        return;
      }
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
    job = nullptr;
    try {
      // The next job takes its turn behind what other parts have queued.
      ThreadPool::shared().submit([self = shared_from_this()] { self->run(); });
      return;
    } catch (const std::bad_alloc&) {
      // Out of turn, then.
    }
  }
}

}  // namespace pointsman
