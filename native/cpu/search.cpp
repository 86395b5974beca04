// The CPU backend: tiling, threads and selection, without intrinsics.
//
// Rows are taken in pages of 256: eligible rows of a page (not dead, in the filter) are listed as pointers, so that dead
// rows and filters cost nothing in the kernels and selective filters make the search faster. Each page is scored
// against panels of queries; a kernel hands back only (row, query) pairs whose approximate score reaches the query's
// threshold; those are scored again exactly and enter the query's TopK, which raises the threshold. The score matrix
// never exists. Work is cut into tasks of (query group × range of pages): large batches give each thread query groups of
// its own, small ones split the rows, each thread then keeping a TopK of its own, merged at the end; threads
// share the best k-th score found so far for each query. What a task finds depends on timing only in what it
// discards: the result is the k best of a total order.
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <new>

#include "pointsman/backend.hpp"
#include "pointsman/bound.hpp"
#include "pointsman/buffer.hpp"
#include "pointsman/error.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/thread_pool.hpp"
#include "pointsman/top_k.hpp"

namespace pointsman {
namespace {

// Below this many queries a panel would be mostly empty, and reading rows is what takes the time.
constexpr uint32_t kPanelFrom = 4;
// Queries of one task: their panels stay in the second-level cache beside a page of rows.
constexpr uint32_t kGroupQueries = 192;
constexpr size_t kTasksPerThread = 4;

struct Page {
  const pointsman_block* block;
  uint32_t first, count;
};

struct Panel {
  uint32_t first;  // query
  uint32_t count;  // queries; the rest of the width is padding
  uint32_t width;
  const float* values;  // dimensions × width
};

// The eligible rows of a page.
struct RowList {
  uint32_t count = 0;
  float max_norm = 0;
  uint32_t min_handle = UINT32_MAX;
  const float* rows[kPageRows + kRowTile];
  uint32_t handles[kPageRows];
};

class Search {
 public:
  Search(const pointsman_request& request, const Kernels& kernels)
      : request_(request), kernels_(kernels), shared_(new std::atomic<float>[request.query_count]) {
    for (size_t b = 0; b < request.block_count; ++b) {
      const pointsman_block& block = request.blocks[b];
      for (uint32_t first = 0; first < block.count; first += kPageRows) {
        pages_.push_back({&block, first, std::min(kPageRows, block.count - first)});
      }
    }
    for (uint32_t q = 0; q < request.query_count; ++q) shared_[q].store(-INFINITY, std::memory_order_relaxed);
  }

  void run() {
    pack();
    const size_t threads = std::max<uint32_t>(1, request_.threads);
    const size_t groups = group_starts_.size() - 1;
    const bool split_rows = groups < threads * 2 && threads > 1;
    const size_t parts =
        split_rows ? std::min(pages_.size(), (threads * kTasksPerThread + groups - 1) / groups) : 1;
    states_.resize(parts > 1 ? threads : 1);
    for (auto& state : states_) state.assign(request_.query_count, TopK(request_.k));

    auto& pool = ThreadPool::shared();
    pool.parallel_for(groups * parts, static_cast<unsigned>(threads), [&](size_t task, unsigned slot) {
      const size_t group = task % groups, part = task / groups;
      scan(group, pages_.size() * part / parts, pages_.size() * (part + 1) / parts, states_[parts > 1 ? slot : 0]);
    });
    const size_t portions = std::min<size_t>(request_.query_count, threads * kTasksPerThread);
    pool.parallel_for(portions, static_cast<unsigned>(threads), [&](size_t portion, unsigned) {
      const size_t end = request_.query_count * (portion + 1) / portions;
      for (size_t q = request_.query_count * portion / portions; q < end; ++q) collect(q);
    });
  }

 private:
  // Cuts the batch into panels (as wide as the kernels take, the last ones narrower) and panels into groups.
  void pack() {
    const uint32_t lanes = kernels_.lanes, widest = lanes * kernels_.max_vectors;
    const uint32_t count = request_.query_count, dimensions = request_.dimensions;
    if (count < kPanelFrom) {
      group_starts_ = {0, 0};
      return;
    }
    for (uint32_t first = 0; first < count;) {
      const uint32_t left = count - first;
      const uint32_t width = std::min(widest, (left + lanes - 1) / lanes * lanes);
      panels_.push_back({first, std::min(left, width), width, nullptr});
      first += panels_.back().count;
    }
    size_t total = 0;
    for (const Panel& panel : panels_) total += size_t{panel.width} * dimensions;
    packed_ = Buffer(total * sizeof(float));
    float* to = packed_.as<float>();
    for (Panel& panel : panels_) {
      panel.values = to;
      for (uint32_t q = 0; q < panel.count; ++q) {
        const float* query = request_.queries + size_t{panel.first + q} * request_.stride;
        for (uint32_t j = 0; j < dimensions; ++j) to[size_t{j} * panel.width + q] = query[j];
      }
      to += size_t{panel.width} * dimensions;
    }
    const uint32_t per_thread = (count + request_.threads - 1) / std::max<uint32_t>(1, request_.threads);
    const uint32_t wanted = std::clamp(per_thread, widest, kGroupQueries);
    uint32_t queries = 0;
    for (uint32_t p = 0; p < panels_.size(); ++p) {
      if (group_starts_.empty() || queries >= wanted) {
        group_starts_.push_back(p);
        queries = 0;
      }
      queries += panels_[p].count;
    }
    group_starts_.push_back(static_cast<uint32_t>(panels_.size()));
  }

  void list_rows(const Page& page, RowList& list) const {
    list.count = 0;
    list.max_norm = 0;
    list.min_handle = UINT32_MAX;
    const pointsman_block& block = *page.block;
    for (uint32_t row = page.first; row < page.first + page.count; ++row) {
      if (block.dead != nullptr && (block.dead[row / 64] >> (row % 64) & 1)) continue;
      const uint32_t handle = block.handles[row];
      if (request_.filter != nullptr &&
          (handle >= request_.filter_handles || !(request_.filter[handle / 64] >> (handle % 64) & 1))) {
        continue;
      }
      list.rows[list.count] = block.rows + size_t{row} * request_.stride;
      list.handles[list.count] = handle;
      list.max_norm = std::max(list.max_norm, block.norms[row]);
      list.min_handle = std::min(list.min_handle, handle);
      ++list.count;
    }
    if (list.count == 0) return;
    for (uint32_t i = list.count; i % kRowTile != 0; ++i) list.rows[i] = list.rows[0];
  }

  // The approximate score a row of this list must reach to matter to query q.
  float threshold(const TopK& top, uint32_t q, const RowList& list) const {
    const float own = top.threshold();
    const float others = shared_[q].load(std::memory_order_relaxed);
    const float t = scan_threshold(std::max(own, others), request_.query_norms[q], list.max_norm, request_.dimensions);
    // Equal scores go to lower handles: where this list has none, equality is not enough (else a zero query would
    // keep every row).
    if (own >= others && top.full() && list.min_handle > top.worst_handle()) return std::nextafter(t, INFINITY);
    return t;
  }

  void consider(TopK& top, uint32_t q, uint32_t row, const RowList& list) {
    const float* query = request_.queries + size_t{q} * request_.stride;
    top.add({kernels_.exact(list.rows[row], query, request_.stride), list.handles[row]});
    const float reached = top.threshold();
    float best = shared_[q].load(std::memory_order_relaxed);
    while (reached > best && !shared_[q].compare_exchange_weak(best, reached, std::memory_order_relaxed)) {
    }
  }

  void scan(size_t group, size_t first_page, size_t end_page, std::vector<TopK>& tops) {
    RowList list;
    std::unique_ptr<Hit[]> hits;
    if (!panels_.empty()) hits.reset(new Hit[size_t{kPageRows} * kernels_.lanes * kernels_.max_vectors]);
    float thresholds[128];
    float scores[kPageRows + kRowTile];
    for (size_t p = first_page; p < end_page; ++p) {
      if (request_.cancelled(request_.context)) throw Error(Code::ABORTED, "the search was aborted");
      list_rows(pages_[p], list);
      if (list.count == 0) continue;
      if (panels_.empty()) {
        for (uint32_t q = 0; q < request_.query_count; ++q) {
          kernels_.dots(list.rows, list.count, request_.queries + size_t{q} * request_.stride, request_.stride, scores);
          float t = threshold(tops[q], q, list);
          for (uint32_t row = 0; row < list.count; ++row) {
            if (scores[row] < t) continue;
            consider(tops[q], q, row, list);
            t = threshold(tops[q], q, list);
          }
        }
        continue;
      }
      for (uint32_t n = group_starts_[group]; n < group_starts_[group + 1]; ++n) {
        const Panel& panel = panels_[n];
        for (uint32_t q = 0; q < panel.width; ++q) {
          thresholds[q] = q < panel.count ? threshold(tops[panel.first + q], panel.first + q, list) : INFINITY;
        }
        const uint32_t found = kernels_.scan(list.rows, list.count, panel.values, panel.width, request_.dimensions,
                                             thresholds, hits.get());
        for (uint32_t i = 0; i < found; ++i) {
          const Hit& hit = hits[i];
          if (hit.score < thresholds[hit.query]) continue;  // it has risen since
          const uint32_t q = panel.first + hit.query;
          consider(tops[q], q, hit.row, list);
          thresholds[hit.query] = threshold(tops[q], q, list);
        }
      }
    }
  }

  void collect(size_t q) {
    TopK& top = states_[0][q];
    for (size_t s = 1; s < states_.size(); ++s) top.merge(states_[s][q]);
    const std::vector<Scored> best = top.take_sorted();
    for (size_t i = 0; i < best.size(); ++i) {
      request_.scores[q * request_.k + i] = best[i].score;
      request_.handles[q * request_.k + i] = best[i].handle;
    }
    request_.counts[q] = static_cast<uint32_t>(best.size());
  }

  const pointsman_request& request_;
  const Kernels& kernels_;
  std::vector<Page> pages_;
  std::vector<Panel> panels_;  // none for small batches
  std::vector<uint32_t> group_starts_;
  Buffer packed_;
  std::unique_ptr<std::atomic<float>[]> shared_;  // by query: the best k-th score of any thread
  std::vector<std::vector<TopK>> states_;         // by slot, by query
};

int search(const pointsman_request* request, char* message, size_t capacity) {
  const auto failed = [&](Code code, const char* text) {
    std::strncpy(message, text, capacity - 1);
    message[capacity - 1] = '\0';
    return static_cast<int>(code) + 1;
  };
  try {
    Search(*request, active_kernels()).run();
    return 0;
  } catch (const Error& error) {
    return failed(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return failed(Code::OUT_OF_MEMORY, "memory ran out; nothing was changed");
  } catch (const std::exception& error) {
    return failed(Code::INTERNAL, error.what());
  }
}

}  // namespace
}  // namespace pointsman

extern "C" const pointsman_backend pointsman_cpu_backend;
const pointsman_backend pointsman_cpu_backend = {
    POINTSMAN_BACKEND_ABI, "cpu", UINT32_MAX, UINT32_MAX, [](char*, size_t) { return 0; }, pointsman::search, nullptr};
