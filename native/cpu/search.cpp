// The CPU backend: tiling, threads and selection, without intrinsics.
//
// Rows are taken in pages: 1024 rows with codes (scan_codes.cpp), or up to 256 without (scan_rows.cpp: the
// end of a block, or an instruction set that has no kernel for codes). A page is scanned against a group of
// queries; the kernels hand back only (row, query) pairs that may reach the query's k-th best; these are
// collected with bounds on their scores and scored exactly when few are left (selection.hpp). The score
// matrix never exists. Pages whose largest norm can't reach the threshold are skipped. Dead rows and those
// that a filter leaves out are a mask of each tile (codes) or missing from a list of row pointers (float32),
// and pages without any others are not looked at, so that selective filters make the search faster.
//
// Work is cut into tasks of (query group × range of pages): large batches give each thread query groups of
// its own, small ones split the pages, each thread then keeping selections of its own, merged at the end;
// threads share the best threshold found so far for each query. What a task finds depends on timing only in
// what it discards: the result is the k best of a total order.
//
// Where many results are wanted, each query's threshold is guessed first, from a sample of the pages (the
// idea of Floyd and Rivest's selection, Comm. ACM 18(3), 1975): else the threshold would climb through the
// bulk of the scores, and far more rows than k would be kept on the way. A guess is proved by k rows that
// reach it; a query for which it was too high is searched again without.
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "cpu/scan.hpp"
#include "pointsman/error.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

// A page of codes with fewer eligible rows is quicker done by those rows alone: tiles are read whole.
constexpr uint32_t kLeastCoded = kCodePage / 16;

uint32_t eligible_rows(const pointsman_block& block, uint32_t first, uint32_t count) {
  if (block.dead == nullptr && block.left_out == nullptr) return count;
  uint32_t rows = 0;
  for (uint32_t row = first; row < first + count; row += 64) {
    rows += static_cast<uint32_t>(__builtin_popcountll(eligible_of(block, row)));
  }
  return rows;
}

}  // namespace

SearchContext::SearchContext(const pointsman_request& to_answer, const Kernels& with)
    : request(to_answer),
      kernels(with),
      batch(to_answer, with),
      shared_(new std::atomic<float>[to_answer.query_count]) {
  for (uint32_t b = 0; b < request.block_count; ++b) {
    const pointsman_block& block = request.blocks[b];
    const auto add = [&](uint32_t first, uint32_t count, bool coded) {
      const uint32_t rows = eligible_rows(block, first, count);
      if (rows == 0) return;
      if (coded && rows >= kLeastCoded) {
        pages.push_back({b, first, count, true});
      } else {
        for (uint32_t at = 0; at < count; at += kPageRows) {
          pages.push_back({b, first + at, std::min(kPageRows, count - at), false});
        }
      }
    };
    uint32_t row = 0;
    if (kernels.codings[POINTSMAN_BYTES].coarse.single > 0) {
      for (; row + kCodePage <= block.count; row += kCodePage) add(row, kCodePage, true);
    }
    if (row < block.count) add(row, block.count - row, false);
  }
  for (uint32_t q = 0; q < request.query_count; ++q) shared_[q].store(-INFINITY, std::memory_order_relaxed);
}

namespace {

constexpr size_t kTasksPerThread = 4;
constexpr size_t kPagesPerTask = 16;

// A guess is made where the sample that holds so many of the k best is at most an eighth of the pages, and
// pages enough to stand for all; it is the score of as many more rows of the sample as chance leaves out one
// time in 30,000 (4 standard deviations).
constexpr size_t kSampledBest = 32;
constexpr uint32_t kGuessRank = 56;
constexpr size_t kLeastStride = 8;
constexpr size_t kLeastSample = 8;

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

  void run(bool may_guess) {
    if (context_.pages.empty()) {  // nothing is eligible
      std::fill_n(request_.counts, request_.query_count, 0u);
      return;
    }
    const unsigned threads = std::max<uint32_t>(1, request_.threads);
    workers_.resize(threads);
    if (may_guess) guess(threads);
    if (threads > 1 && context_.batch.groups().size() < 2 * size_t{threads}) {
      split_pages(threads);
    } else {
      split_queries(threads);
    }
    search_again();
  }

 private:
  void guess(unsigned threads) {
    const size_t stride = request_.k / kSampledBest;
    if (stride < kLeastStride || context_.pages.size() / stride < kLeastSample) return;
    const auto& groups = context_.batch.groups();
    guesses_.assign(request_.query_count, -INFINITY);
    ThreadPool::shared().parallel_for(groups.size(), threads, [&](size_t g, unsigned slot) {
      Worker& worker = worker_of(slot);
      std::vector<Selection> sample(groups[g].count);
      for (Selection& selection : sample) selection.reset(kGuessRank);
      for (size_t p = stride / 2; p < context_.pages.size(); p += stride) {
        scan(groups[g], p, p + 1, worker, sample.data());
      }
      for (uint32_t i = 0; i < groups[g].count; ++i) {
        const uint32_t q = groups[g].first + i;
        guesses_[q] = sample[i].threshold();
        context_.share(q, guesses_[q]);
      }
    });
  }

  // Runs of queries for which the guess was too high.
  void search_again() {
    for (size_t q = 0; q < guesses_.size(); ++q) {
      const auto failed = [&](size_t i) { return i < guesses_.size() && guesses_[i] == INFINITY; };
      if (!failed(q)) continue;
      const size_t first = q;
      while (failed(q)) ++q;
      pointsman_request again = request_;
      again.query_count = static_cast<uint32_t>(q - first);
      again.queries += first * again.stride;
      again.query_norms += first;
      if (again.query_prefixes != nullptr) again.query_prefixes += first * kPrefixComponents;
      again.scores += first * again.k;
      again.handles += first * again.k;
      again.counts += first;
      Search(again, context_.kernels).run(false);
    }
  }

  // A group is one thread's, from its first page to its results.
  void split_queries(unsigned threads) {
    const auto& groups = context_.batch.groups();
    ThreadPool::shared().parallel_for(groups.size(), threads, [&](size_t g, unsigned slot) {
      Worker& worker = worker_of(slot);
      worker.selections.resize(kGroupQueries);
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
      Worker& worker = worker_of(slot);
      if (worker.selections.empty()) {
        worker.selections.resize(request_.query_count);
        for (Selection& selection : worker.selections) selection.reset(request_.k);
      }
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
          if (!worker || worker->selections.empty()) continue;
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

  Worker& worker_of(unsigned slot) {
    if (!workers_[slot]) workers_[slot] = std::make_unique<Worker>(context_);
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
    if (!guesses_.empty() && (best.size() < request_.k || best.back().lower < guesses_[q])) {
      if (guesses_[q] > -INFINITY) guesses_[q] = INFINITY;  // it was too high
    }
    for (size_t i = 0; i < best.size(); ++i) {
      request_.scores[size_t{q} * request_.k + i] = best[i].lower;
      request_.handles[size_t{q} * request_.k + i] = best[i].handle;
    }
    request_.counts[q] = static_cast<uint32_t>(best.size());
  }

  const SearchContext context_;
  const pointsman_request& request_;
  std::vector<std::unique_ptr<Worker>> workers_;  // by slot
  std::vector<float> guesses_;                    // by query; +∞: it has proved wrong; empty: none are made
};

int search(const pointsman_request* request, char* message, size_t capacity) {
  const auto failed = [&](Code code, const char* text) {
    std::strncpy(message, text, capacity - 1);
    message[capacity - 1] = '\0';
    return static_cast<int>(code) + 1;
  };
  try {
    Search(*request, active_kernels()).run(true);
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
