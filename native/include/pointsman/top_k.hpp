// The k best (score, handle) pairs seen so far: higher scores first, equal scores by lower handle. A binary
// heap with the worst on top; the order is total, so the content never depends on the order of arrival.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace pointsman {

struct Scored {
  float score;
  uint32_t handle;
};

inline bool better(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.handle < b.handle;
}

class TopK {
 public:
  explicit TopK(uint32_t k = 0) : k_(k) {}

  bool full() const { return heap_.size() == k_; }
  // The score to reach: the k-th best, −∞ while there are fewer than k.
  float threshold() const { return full() ? heap_.front().score : -INFINITY; }
  // The highest handle among those that hold the k-th best score; only when full.
  uint32_t worst_handle() const { return heap_.front().handle; }

  void add(Scored candidate) {
    if (!full()) {
      heap_.push_back(candidate);
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else if (better(candidate, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = candidate;
      std::push_heap(heap_.begin(), heap_.end(), better);
    }
  }

  void merge(const TopK& other) {
    for (const Scored& candidate : other.heap_) add(candidate);
  }

  // Empties the heap into a list, best first.
  std::vector<Scored> take_sorted() {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    return std::move(heap_);
  }

 private:
  uint32_t k_;
  std::vector<Scored> heap_;
};

}  // namespace pointsman
