// The CPU backend: tiling, threads and selection, without intrinsics.
//
// Rows are taken in pages: 1024 rows with codes (scan_codes.cpp), or up to 256 without (scan_rows.cpp: the
// end of a block, or an instruction set that has no kernel for codes). A page is scanned against a group of
// queries; the kernels hand back only (row, query) pairs that may reach the query's k-th best; these are
// collected with bounds on their scores and scored exactly when few are left (selection.hpp). The score
// matrix never exists. Pages whose largest norm can't reach the threshold are skipped. Dead rows and filters
// are a mask of each tile (codes) or a list of row pointers (float32), so that selective filters make the
// search faster.
//
// Work is cut into tasks of (query group × range of pages): large batches give each thread query groups of
// its own, small ones split the pages, each thread then keeping selections of its own, merged at the end;
// threads share the best threshold found so far for each query. What a task finds depends on timing only in
// what it discards: the result is the k best of a total order.
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "cpu/scan.hpp"
#include "pointsman/error.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {

SearchContext::SearchContext(const pointsman_request& to_answer, const Kernels& with)
    : request(to_answer),
      kernels(with),
      batch(to_answer, with),
      shared_(new std::atomic<float>[to_answer.query_count]) {
  for (uint32_t b = 0; b < request.block_count; ++b) {
    uint32_t row = 0;
    const uint32_t count = request.blocks[b].count;
    if (kernels.codings[POINTSMAN_BYTES].limit > 0) {
      for (; row + kCodePage <= count; row += kCodePage) pages.push_back({b, row, kCodePage, true});
    }
    for (; row < count; row += kPageRows) pages.push_back({b, row, std::min(kPageRows, count - row), false});
  }
  for (uint32_t q = 0; q < request.query_count; ++q) shared_[q].store(-INFINITY, std::memory_order_relaxed);
}

namespace {

constexpr size_t kTasksPerThread = 4;
constexpr size_t kPagesPerTask = 16;

// What one thread works with.
struct Worker {
  explicit Worker(const SearchContext& context) : codes(context), rows(context) {}

  CodeScan codes;
  RowScan rows;
  std::vector<Selection> selections;
};

class Search {
 public:
  Search(const pointsman_request& request, const Kernels& kernels)
      : context_(request, kernels), request_(request) {}

  void run() {
    const unsigned threads = std::max<uint32_t>(1, request_.threads);
    workers_.resize(threads);
    if (threads > 1 && context_.batch.groups().size() < 2 * size_t{threads}) {
      split_pages(threads);
    } else {
      split_queries(threads);
    }
  }

 private:
  // A group is one thread's, from its first page to its results.
  void split_queries(unsigned threads) {
    const auto& groups = context_.batch.groups();
    ThreadPool::shared().parallel_for(groups.size(), threads, [&](size_t g, unsigned slot) {
      Worker& worker = worker_of(slot, kGroupQueries);
      for (uint32_t i = 0; i < groups[g].count; ++i) worker.selections[i].reset(request_.k);
      scan(groups[g], 0, context_.pages.size(), worker, worker.selections.data());
      for (uint32_t i = 0; i < groups[g].count; ++i) finish(groups[g].first + i, worker.selections[i]);
    });
  }

  // Many small ranges in order, so that all threads begin where the norms are largest.
  void split_pages(unsigned threads) {
    const auto& groups = context_.batch.groups();
    const size_t pages = context_.pages.size();
    const size_t parts = std::min(
        pages,
        std::max((threads * kTasksPerThread + groups.size() - 1) / groups.size(), pages / kPagesPerTask));
    auto& pool = ThreadPool::shared();
    pool.parallel_for(groups.size() * parts, threads, [&](size_t task, unsigned slot) {
      const QueryGroup& group = groups[task % groups.size()];
      const size_t part = task / groups.size();
      Worker& worker = worker_of(slot, request_.query_count);
      scan(group, pages * part / parts, pages * (part + 1) / parts, worker, &worker.selections[group.first]);
    });
    const size_t portions = std::min<size_t>(request_.query_count, threads * kTasksPerThread);
    pool.parallel_for(portions, threads, [&](size_t portion, unsigned) {
      const size_t end = request_.query_count * (portion + 1) / portions;
      for (size_t i = request_.query_count * portion / portions; i < end; ++i) {
        const auto q = static_cast<uint32_t>(i);
        const Scorer scorer(request_, context_.kernels, q);
        Selection* all = nullptr;
        for (const auto& worker : workers_) {
          if (!worker) continue;
          if (all == nullptr) {
            all = &worker->selections[q];
          } else {
            all->merge(worker->selections[q], scorer);
          }
        }
        finish(q, *all);
      }
    });
  }

  Worker& worker_of(unsigned slot, uint32_t queries) {
    if (!workers_[slot]) {
      workers_[slot] = std::make_unique<Worker>(context_);
      workers_[slot]->selections.resize(queries);
      for (Selection& selection : workers_[slot]->selections) selection.reset(request_.k);
    }
    return *workers_[slot];
  }

  void scan(const QueryGroup& group, size_t first_page, size_t end_page, Worker& worker,
            Selection* selections) {
    for (size_t p = first_page; p < end_page; ++p) {
      if (request_.cancelled(request_.context)) throw Error(Code::ABORTED, "the search was aborted");
      if (context_.pages[p].coded) {
        worker.codes.scan(group, context_.pages[p], selections);
      } else {
        worker.rows.scan(group, context_.pages[p], selections);
      }
    }
  }

  void finish(uint32_t q, Selection& selection) {
    const auto& best = selection.finish(context_.shared(q), Scorer(request_, context_.kernels, q));
    for (size_t i = 0; i < best.size(); ++i) {
      request_.scores[size_t{q} * request_.k + i] = best[i].lower;
      request_.handles[size_t{q} * request_.k + i] = best[i].handle;
    }
    request_.counts[q] = static_cast<uint32_t>(best.size());
  }

  const SearchContext context_;
  const pointsman_request& request_;
  std::vector<std::unique_ptr<Worker>> workers_;  // by slot
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
    POINTSMAN_BACKEND_ABI, "cpu",  UINT32_MAX, UINT32_MAX, [](char*, size_t) { return 0; },
    pointsman::search,     nullptr};
