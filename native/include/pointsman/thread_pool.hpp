// One pool of threads for the process; never libuv's. Idle threads sleep. The pool lives as long as the
// process (it is never destroyed, so no static-destruction order can hurt a running search).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace pointsman {

class ThreadPool {
 public:
  static ThreadPool& shared();

  // Threads of the pool: the processors this process may use, or POINTSMAN_THREADS (1-1024).
  unsigned size() const noexcept { return size_; }

  // Runs `job` on a thread of the pool, some time after this call returns. It must not throw.
  void submit(std::function<void()> job);

  // Calls body(i, slot) once for each i in [0, count), on up to `threads` threads of which the calling one is
  // one, and returns when all have returned. `slot` < threads tells the bodies that run at the same time
  // apart (for scratch memory). Which slot gets which i is not determined: results must not depend on it.
  // The first exception of a body stops further i's and is thrown here. May be called from inside the pool.
  void parallel_for(size_t count, unsigned threads, const std::function<void(size_t i, unsigned slot)>& body);

 private:
  explicit ThreadPool(unsigned size);
  void work();

  unsigned size_ = 0;  // set before the pool is seen
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
};

// Runs jobs on the pool one after another, in the order of their submission, without holding a thread while
// it waits.
class Strand : public std::enable_shared_from_this<Strand> {
 public:
  void submit(std::function<void()> job);

 private:
  void run();

  std::mutex mutex_;
  std::deque<std::function<void()>> queue_;
  bool running_ = false;  // a run is on the pool or on its way there
};

}  // namespace pointsman
