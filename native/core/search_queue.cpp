#include "core/search_queue.hpp"

#include <new>

#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

// Of one batch, in numbers: beyond, a larger batch is hardly faster, and its first query waits longer.
constexpr size_t kMostQueries = 256;

}  // namespace

void SearchQueue::submit(QueuedSearch search) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(search));
    if (running_) return;
    running_ = true;
  }
  try {
    ThreadPool::shared().submit([self = shared_from_this()] { self->run(); });
  } catch (...) {
    std::lock_guard lock(mutex_);
    running_ = false;
    waiting_.pop_back();
    throw;
  }
}

void SearchQueue::run() {
  for (;;) {
    std::vector<QueuedSearch> batch;
    {
      std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        running_ = false;
        return;
      }
      batch = take();
    }
    answer(batch);
  }
}

// The first that waits and all that can be answered with it.
std::vector<QueuedSearch> SearchQueue::take() {
  std::vector<QueuedSearch> batch;
  size_t queries = 0;
  const size_t dimensions = index_->dimensions();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const size_t own = it->queries.size() / dimensions;
    const bool alike = batch.empty() || (it->k == batch[0].k && it->filter == batch[0].filter);
    if (!alike || (!batch.empty() && queries + own > kMostQueries)) {
      ++it;
      continue;
    }
    queries += own;
    batch.push_back(std::move(*it));
    it = waiting_.erase(it);
  }
  return batch;
}

void SearchQueue::answer_one(QueuedSearch& search) const {
  SearchResult result;
  std::exception_ptr error;
  try {
    search.cancel->check();
    result = index_->search(search.queries, search.k, search.filter.get(), 0, *search.cancel);
  } catch (...) {
    error = std::current_exception();
  }
  search.done(std::move(result), std::move(error));
}

void SearchQueue::answer(std::vector<QueuedSearch>& batch) const {
  // Who has given up is told so, and doesn't hold the others up.
  std::erase_if(batch, [&](QueuedSearch& search) {
    if (!search.cancel->requested()) return false;
    answer_one(search);
    return true;
  });
  if (batch.size() < 2) {
    if (!batch.empty()) answer_one(batch[0]);
    return;
  }
  std::vector<SearchResult> results;
  try {
    std::vector<float> queries;
    for (const QueuedSearch& search : batch)
      queries.insert(queries.end(), search.queries.begin(), search.queries.end());
    const uint32_t k = batch[0].k;
    const SearchResult all = index_->search(queries, k, batch[0].filter.get(), 0, Cancel());
    auto count = all.counts.begin();
    auto score = all.scores.begin();
    auto handle = all.handles.begin();
    for (const QueuedSearch& search : batch) {
      const auto own = static_cast<ptrdiff_t>(search.queries.size() / index_->dimensions());
      const auto hits = own * static_cast<ptrdiff_t>(k);
      results.push_back({{count, count + own}, {score, score + hits}, {handle, handle + hits}});
      count += own;
      score += hits;
      handle += hits;
    }
  } catch (...) {
    // One bad query must not fail the others, and memory may suffice for each alone.
    for (QueuedSearch& search : batch) answer_one(search);
    return;
  }
  for (size_t i = 0; i < batch.size(); ++i) batch[i].done(std::move(results[i]), nullptr);
}

}  // namespace pointsman
