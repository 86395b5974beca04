// The CPU backend: tiling, threads and selection, without intrinsics.
//
// Rows are taken in pages: 1024 rows with codes (see codes.hpp), or up to 256 without (the end of a block, or
// an instruction set that has no kernel for codes). A page is scanned against a group of queries; the kernels
// hand back only (row, query) pairs that may reach the query's k-th best; those are scored exactly and enter
// the query's TopK, which raises the threshold. The score matrix never exists. Pages whose largest norm can't
// reach the threshold are skipped. Dead rows and filters are a mask of each tile (codes) or a list of row
// pointers (float32), so that selective filters make the search faster.
//
// Work is cut into tasks of (query group × range of pages): large batches give each thread query groups of
// its own, small ones split the pages, each thread then keeping a TopK of its own, merged at the end; threads
// share the best k-th score found so far for each query. What a task finds depends on timing only in what it
// discards: the result is the k best of a total order.
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <new>

#include "cpu/batch.hpp"
#include "pointsman/backend.hpp"
#include "pointsman/bound.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/error.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/thread_pool.hpp"
#include "pointsman/top_k.hpp"

namespace pointsman {
namespace {

constexpr size_t kTasksPerThread = 4;
constexpr size_t kPagesPerTask = 64;
// What scoring one row exactly costs, in steps of one tile (64 rows × 4 dimensions of one query): it is
// mostly waiting for the row from memory.
constexpr uint32_t kExactSteps = 64;
constexpr uint32_t kPrefixPause = 8;

struct Page {
  const pointsman_block* block;
  uint32_t first, count;
  const CodePage* codes;  // null: scan the float32 rows
};

// The eligible rows of a page without codes.
struct RowList {
  uint32_t count = 0;
  float max_norm = 0;
  uint32_t min_handle = UINT32_MAX;
  const float* rows[kPageRows + kRowTile];
  uint32_t handles[kPageRows];
};

// One way to look at a page of codes: whole vectors or prefixes, and the queries that it can still matter to.
struct View {
  const uint8_t* codes;
  const CodePage* coded;
  uint32_t steps;
  bool prefix;
  uint32_t active = 0;
  uint32_t query[kGroupQueries];
  const int8_t* query_codes[kGroupQueries];
  int32_t thresholds[kGroupQueries];
};

// What one thread works with.
struct Scratch {
  // For pages of codes.
  View view;
  std::unique_ptr<CodeHit[]> hits{new CodeHit[size_t{kTileRows} * kGroupQueries]};
  uint64_t eligible[kCodePage / kTileRows];
  uint32_t prefix_pause = 0;  // pages to scan whole before the prefix is tried again
  // For pages of float32 rows.
  RowList list;
  std::unique_ptr<Hit[]> row_hits{new Hit[size_t{kPageRows} * kWidestPanel]};
  float thresholds[kWidestPanel];
  float scores[kPageRows + kRowTile];
};

class Search {
 public:
  Search(const pointsman_request& request, const Kernels& kernels)
      : request_(request),
        kernels_(kernels),
        batch_(request, kernels),
        shared_(new std::atomic<float>[request.query_count]) {
    for (size_t b = 0; b < request.block_count; ++b) {
      const pointsman_block& block = request.blocks[b];
      uint32_t row = 0;
      if (kernels.scan_codes != nullptr) {
        for (; row + kCodePage <= block.count; row += kCodePage) {
          pages_.push_back({&block, row, kCodePage, &block.pages[row / kCodePage]});
        }
      }
      for (; row < block.count; row += kPageRows) {
        pages_.push_back({&block, row, std::min(kPageRows, block.count - row), nullptr});
      }
    }
    for (uint32_t q = 0; q < request.query_count; ++q) shared_[q].store(-INFINITY, std::memory_order_relaxed);
  }

  void run() {
    const size_t threads = std::max<uint32_t>(1, request_.threads);
    const size_t groups = batch_.groups().size();
    // Many small ranges in order, so that all threads begin where the norms are largest.
    const bool split_pages = groups < threads * 2 && threads > 1;
    const size_t parts =
        split_pages ? std::min(pages_.size(), std::max((threads * kTasksPerThread + groups - 1) / groups,
                                                       pages_.size() / kPagesPerTask))
                    : 1;
    tops_.resize(parts > 1 ? threads : 1);
    for (auto& tops : tops_) tops.assign(request_.query_count, TopK(request_.k));
    std::vector<std::unique_ptr<Scratch>> scratch(threads);

    auto& pool = ThreadPool::shared();
    pool.parallel_for(groups * parts, static_cast<unsigned>(threads), [&](size_t task, unsigned slot) {
      if (!scratch[slot]) scratch[slot] = std::make_unique<Scratch>();
      const size_t group = task % groups, part = task / groups;
      scan(batch_.groups()[group], pages_.size() * part / parts, pages_.size() * (part + 1) / parts,
           tops_[parts > 1 ? slot : 0], *scratch[slot]);
    });
    const size_t portions = std::min<size_t>(request_.query_count, threads * kTasksPerThread);
    pool.parallel_for(portions, static_cast<unsigned>(threads), [&](size_t portion, unsigned) {
      const size_t end = request_.query_count * (portion + 1) / portions;
      for (size_t q = request_.query_count * portion / portions; q < end; ++q) collect(q);
    });
  }

 private:
  void scan(const QueryGroup& group, size_t first_page, size_t end_page, std::vector<TopK>& tops,
            Scratch& scratch) {
    for (size_t p = first_page; p < end_page; ++p) {
      if (request_.cancelled(request_.context)) throw Error(Code::ABORTED, "the search was aborted");
      if (pages_[p].codes != nullptr) {
        scan_codes(group, pages_[p], tops, scratch);
      } else {
        scan_rows(group, pages_[p], tops, scratch);
      }
    }
  }

  // ---- selection, common to both kinds of page ----

  // The score that a row must reach to matter to query q, and whether reaching it is enough: equal scores go
  // to lower handles, so where a page has none that are lower, it is not (else a zero query would keep every
  // row).
  float reach(const TopK& top, uint32_t q, uint32_t min_handle, bool& strictly) const {
    const float own = top.threshold();
    const float others = shared_[q].load(std::memory_order_relaxed);
    strictly = own >= others && top.full() && min_handle > top.worst_handle();
    return std::max(own, others);
  }

  void consider(TopK& top, uint32_t q, const float* row, uint32_t handle) {
    top.add({kernels_.exact(row, batch_.query(q), request_.stride), handle});
    const float reached = top.threshold();
    float best = shared_[q].load(std::memory_order_relaxed);
    while (reached > best && !shared_[q].compare_exchange_weak(best, reached, std::memory_order_relaxed)) {
    }
  }

  bool in_filter(uint32_t handle) const {
    return handle < request_.filter_handles && (request_.filter[handle / 64] >> (handle % 64) & 1);
  }

  // ---- pages of codes ----

  // Bits of the eligible rows of each tile; false when there are none.
  bool mask_rows(const Page& page, uint64_t* eligible) const {
    const pointsman_block& block = *page.block;
    uint64_t any = 0;
    for (uint32_t tile = 0; tile < kCodePage / kTileRows; ++tile) {
      const uint32_t first = page.first + tile * kTileRows;
      uint64_t mask = block.dead != nullptr ? ~block.dead[first / 64] : ~uint64_t{0};
      if (request_.filter != nullptr) {
        for (uint32_t i = 0; i < kTileRows; ++i) {
          if (!in_filter(block.handles[first + i])) mask &= ~(uint64_t{1} << i);
        }
      }
      any |= eligible[tile] = mask;
    }
    return any != 0;
  }

  // The least sum of codes with which a row of this page matters to query q; INT32_MAX when none can. The
  // bound is on the inner product of what was coded: the vectors, or their prefixes.
  int32_t code_threshold(const TopK& top, uint32_t q, const CodedQuery& code, const CodePage& coded,
                         const CodePage& page) const {
    bool strictly;
    const float tau = reach(top, q, page.min_handle, strictly);
    if (tau == -INFINITY) return INT32_MIN;
    if (code.step == 0) return tau < 0 || (tau == 0 && !strictly) ? INT32_MIN : INT32_MAX;
    // Below tau by more than the rounding of a score to float32.
    const double wanted = tau - std::fabs(static_cast<double>(tau)) * 0x1p-23 - 0x1p-149;
    if (request_.query_norms[q] * static_cast<double>(page.norm) < wanted) return INT32_MAX;
    const double hidden = (code.norm * coded.error + code.error * coded.hat) * (1 + 0x1p-30);
    const double sum = (wanted - hidden) * code.inverse_step / coded.scale + code.offset;
    if (sum >= 0x1p30) return INT32_MAX;
    // A whole unit of the sum, which floor may give away, is worth at least 2⁻²⁶·‖q‖‖x‖: it covers all
    // rounding of this float64 arithmetic (2⁻⁴³) and of the float64 sum that a score is.
    return sum <= -0x1p30 ? INT32_MIN : static_cast<int32_t>(std::floor(sum));
  }

  void open_view(View& view, bool prefix, const QueryGroup& group, const Page& page,
                 const std::vector<TopK>& tops) const {
    const pointsman_block& block = *page.block;
    const uint32_t components = prefix ? kPrefixComponents : request_.dimensions;
    view.codes =
        (prefix ? block.prefix_codes : block.codes) + page.first / kTileRows * tile_bytes(components);
    view.coded = prefix ? &block.prefix_pages[page.first / kCodePage] : page.codes;
    view.steps = steps_of(components);
    view.prefix = prefix;
    view.active = 0;
    for (uint32_t q = group.first; q < group.first + group.count; ++q) {
      const CodedQuery& code = prefix ? batch_.prefix(q) : batch_.code(q);
      const int32_t threshold = code_threshold(tops[q], q, code, *view.coded, *page.codes);
      view.query[view.active] = q;
      view.query_codes[view.active] = prefix ? batch_.prefix_codes(q) : batch_.codes(q);
      view.thresholds[view.active] = threshold;
      view.active += threshold != INT32_MAX;
    }
  }

  void scan_codes(const QueryGroup& group, const Page& page, std::vector<TopK>& tops, Scratch& scratch) {
    const pointsman_block& block = *page.block;
    bool prefix =
        block.prefix_codes != nullptr && request_.query_prefixes != nullptr && scratch.prefix_pause == 0;
    if (scratch.prefix_pause > 0) --scratch.prefix_pause;
    View& view = scratch.view;
    open_view(view, prefix, group, page, tops);
    if (view.active == 0 || !mask_rows(page, scratch.eligible)) return;

    const uint32_t whole_steps = steps_of(request_.dimensions);
    for (uint32_t t = 0; t < kCodePage / kTileRows; ++t) {
      if (scratch.eligible[t] == 0) continue;
      const auto look = [&] {
        return kernels_.scan_codes(view.codes + t * size_t{view.steps} * kTileRows * 4, view.steps,
                                   scratch.eligible[t], view.query_codes, view.active, view.thresholds,
                                   scratch.hits.get());
      };
      uint32_t found = look();
      if (prefix && found * kExactSteps > view.active * (whole_steps - view.steps)) {
        // Scoring what the prefix left would cost more than it saved: whole codes for the next pages.
        prefix = false;
        scratch.prefix_pause = kPrefixPause;
        open_view(view, false, group, page, tops);
        if (view.active == 0) return;
        found = look();
      }
      for (uint32_t i = 0; i < found; ++i) {
        const CodeHit& hit = scratch.hits[i];
        int32_t& threshold = view.thresholds[hit.query];
        if (hit.sum < threshold) continue;  // it has risen since
        const uint32_t q = view.query[hit.query];
        const uint32_t row = page.first + t * kTileRows + hit.row;
        consider(tops[q], q, block.rows + size_t{row} * request_.stride, block.handles[row]);
        threshold = code_threshold(tops[q], q, view.prefix ? batch_.prefix(q) : batch_.code(q), *view.coded,
                                   *page.codes);
      }
    }
  }

  // ---- pages of float32 rows ----

  void list_rows(const Page& page, RowList& list) const {
    list.count = 0;
    list.max_norm = 0;
    list.min_handle = UINT32_MAX;
    const pointsman_block& block = *page.block;
    for (uint32_t row = page.first; row < page.first + page.count; ++row) {
      if (block.dead != nullptr && (block.dead[row / 64] >> (row % 64) & 1)) continue;
      const uint32_t handle = block.handles[row];
      if (request_.filter != nullptr && !in_filter(handle)) continue;
      list.rows[list.count] = block.rows + size_t{row} * request_.stride;
      list.handles[list.count] = handle;
      list.max_norm = std::max(list.max_norm, block.norms[row]);
      list.min_handle = std::min(list.min_handle, handle);
      ++list.count;
    }
    if (list.count == 0) return;
    for (uint32_t i = list.count; i % kRowTile != 0; ++i) list.rows[i] = list.rows[0];
  }

  // The approximate score that a row of this list must reach; +∞ when none can.
  float threshold(const TopK& top, uint32_t q, const RowList& list) const {
    bool strictly;
    const float tau = reach(top, q, list.min_handle, strictly);
    const double norm = request_.query_norms[q];
    if (norm * list.max_norm < tau - std::fabs(static_cast<double>(tau)) * 0x1p-23 - 0x1p-149)
      return INFINITY;
    const float t = scan_threshold(tau, norm, list.max_norm, request_.dimensions);
    return strictly ? std::nextafter(t, INFINITY) : t;
  }

  void scan_rows(const QueryGroup& group, const Page& page, std::vector<TopK>& tops, Scratch& scratch) {
    RowList& list = scratch.list;
    list_rows(page, list);
    if (list.count == 0) return;
    if (group.panels.empty()) {
      for (uint32_t q = group.first; q < group.first + group.count; ++q) {
        float t = threshold(tops[q], q, list);
        if (t == INFINITY) continue;
        kernels_.dots(list.rows, list.count, batch_.query(q), request_.stride, scratch.scores);
        for (uint32_t row = 0; row < list.count; ++row) {
          if (scratch.scores[row] < t) continue;
          consider(tops[q], q, list.rows[row], list.handles[row]);
          t = threshold(tops[q], q, list);
        }
      }
    }
    for (const Panel& panel : group.panels) {
      float* thresholds = scratch.thresholds;
      float least = INFINITY;
      for (uint32_t q = 0; q < panel.width; ++q) {
        thresholds[q] = q < panel.count ? threshold(tops[panel.first + q], panel.first + q, list) : INFINITY;
        least = std::min(least, thresholds[q]);
      }
      if (least == INFINITY) continue;
      const uint32_t found = kernels_.scan(list.rows, list.count, panel.values, panel.width,
                                           request_.dimensions, thresholds, scratch.row_hits.get());
      for (uint32_t i = 0; i < found; ++i) {
        const Hit& hit = scratch.row_hits[i];
        if (hit.score < thresholds[hit.query]) continue;  // it has risen since
        const uint32_t q = panel.first + hit.query;
        consider(tops[q], q, list.rows[hit.row], list.handles[hit.row]);
        thresholds[hit.query] = threshold(tops[q], q, list);
      }
    }
  }

  void collect(size_t q) {
    TopK& top = tops_[0][q];
    for (size_t s = 1; s < tops_.size(); ++s) top.merge(tops_[s][q]);
    const std::vector<Scored> best = top.take_sorted();
    for (size_t i = 0; i < best.size(); ++i) {
      request_.scores[q * request_.k + i] = best[i].score;
      request_.handles[q * request_.k + i] = best[i].handle;
    }
    request_.counts[q] = static_cast<uint32_t>(best.size());
  }

  const pointsman_request& request_;
  const Kernels& kernels_;
  const Batch batch_;
  std::vector<Page> pages_;
  std::unique_ptr<std::atomic<float>[]> shared_;  // by query: the best k-th score of any thread
  std::vector<std::vector<TopK>> tops_;           // by slot, by query
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
