// Searches of one index that wait for the engine. One batch runs at a time, on all of the index's threads;
// what arrives meanwhile becomes the next batch, as far as it asks for alike results: a batch costs little
// more than one of its queries while reading rows is what takes the time. No timer: a search that finds the
// engine idle starts at once.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "pointsman/index.hpp"

namespace pointsman {

struct QueuedSearch {
  std::vector<float> queries;  // rows × dimensions
  uint32_t k;
  std::shared_ptr<const Filter> filter;  // null: none
  std::shared_ptr<const Cancel> cancel;
  // Called once, on a thread of the pool: with a result, or with what went wrong. Must not throw.
  std::function<void(SearchResult&&, std::exception_ptr)> done;
};

class SearchQueue : public std::enable_shared_from_this<SearchQueue> {
 public:
  explicit SearchQueue(std::shared_ptr<const Index> index) : index_(std::move(index)) {}

  void submit(QueuedSearch search);

 private:
  void run();
  std::vector<QueuedSearch> take();
  void answer(std::vector<QueuedSearch>& batch) const;
  void answer_one(QueuedSearch& search) const;

  const std::shared_ptr<const Index> index_;
  std::mutex mutex_;
  std::deque<QueuedSearch> waiting_;
  bool running_ = false;  // a run is on the pool or on its way there
};

}  // namespace pointsman
