// What the scans of pages share: the request, the queries as kernels want them, and thresholds.
#pragma once

#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "cpu/batch.hpp"
#include "cpu/selection.hpp"
#include "pointsman/backend.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/kernels.hpp"

namespace pointsman {

struct Page {
  uint32_t block;
  uint32_t first, count;
  bool coded;  // 1024 rows with codes; else up to 256 rows of float32
};

// Bits of the eligible rows among the 64 from `first` on, a multiple of 64.
inline uint64_t eligible_of(const pointsman_block& block, uint32_t first) {
  uint64_t rows = block.count - first >= 64 ? ~uint64_t{0} : (uint64_t{1} << (block.count - first)) - 1;
  if (block.dead != nullptr) rows &= ~block.dead[first / 64];
  if (block.left_out != nullptr) rows &= ~block.left_out[first / 64];
  return rows;
}

// Of one search.
struct SearchContext {
  SearchContext(const pointsman_request& to_answer, const Kernels& with);

  const pointsman_request& request;
  const Kernels& kernels;
  const Batch batch;
  std::vector<Page> pages;

  // The best threshold that any thread has for a query.
  float shared(uint32_t q) const { return shared_[q].load(std::memory_order_relaxed); }
  void share(uint32_t q, float reached) const {
    float best = shared(q);
    while (reached > best && !shared_[q].compare_exchange_weak(best, reached, std::memory_order_relaxed)) {
    }
  }
  // The score that a row must reach to matter to query q, and whether reaching it is enough: equal scores go
  // to lower handles, so where a page has none that are lower, it is not (else a zero query would keep every
  // row).
  float reach(const Selection& selection, uint32_t q, uint32_t min_handle, bool& strictly) const {
    const float own = selection.threshold(), others = shared(q);
    strictly = own >= others && min_handle > selection.worst_handle();
    return std::max(own, others);
  }

 private:
  std::unique_ptr<std::atomic<float>[]> shared_;
};

// A score that certainly is below `tau` by more than the rounding of a score to float32.
inline double below(float tau) { return tau - std::fabs(static_cast<double>(tau)) * 0x1p-23 - 0x1p-149; }

// float32 bounds of a value, outwards by more than any rounding of it.
inline float round_down(double x) { return static_cast<float>(x - std::fabs(x) * 0x1p-22 - 0x1p-148); }
inline float round_up(double x) { return static_cast<float>(x + std::fabs(x) * 0x1p-22 + 0x1p-148); }

// Scans pages of codes for one group of queries; one for each thread, with its memory of which codings pay.
class CodeScan {
 public:
  explicit CodeScan(const SearchContext& context) : context_(context) {}
  // `selections` are the group's, one a query.
  void scan(const QueryGroup& group, const Page& page, Selection* selections);

 private:
  // One query to which the page can still matter.
  struct Active {
    uint32_t query;
    double unit, offset, hidden;  // of a sum of full codes: score = unit·(sum − offset) ± hidden
  };

  void mask_rows(const Page& page);
  bool all_have_thresholds(const QueryGroup& group, const Selection* selections) const;
  void open(uint32_t coding, const QueryGroup& group, const Page& page, const Selection* selections);
  CodeThreshold threshold(const Selection& selection, uint32_t q) const;
  double hidden(double query_norm, const CodedStep& code) const;
  uint32_t look(uint32_t tile);
  void collect(uint32_t found, uint32_t tile, const QueryGroup& group, const Page& page,
               Selection* selections);

  const SearchContext& context_;
  uint64_t eligible_[kCodePage / kTileRows];
  uint32_t pause_[POINTSMAN_CODINGS] =
      {};  // pages to go before a coding that left too many rows is tried again

  // The page as it is looked at now.
  uint32_t coding_ = POINTSMAN_BYTES;
  const uint8_t* codes_ = nullptr;
  const CodePage* coded_ = nullptr;  // of this coding
  const CodePage* page_ = nullptr;   // with norm and handles
  uint32_t active_count_ = 0;
  Active active_[kGroupQueries];
  const int8_t* query_codes_[kGroupQueries];
  CodeThreshold thresholds_[kGroupQueries];
  std::vector<CodeHit> hits_;  // as many as a tile can have
};

// Scans pages of float32 rows: the end of a block, or all where a processor has no kernel for codes.
class RowScan {
 public:
  explicit RowScan(const SearchContext& context) : context_(context) {}
  void scan(const QueryGroup& group, const Page& page, Selection* selections);

 private:
  void list_rows(const Page& page);
  float threshold(const Selection& selection, uint32_t q) const;
  bool add(uint32_t q, uint32_t listed, float score, const Page& page, Selection& selection) const;
  void scan_each(const QueryGroup& group, const Page& page, Selection* selections);
  void scan_panel(const QueryGroup& group, const Panel& panel, const Page& page, Selection* selections);

  const SearchContext& context_;
  // The eligible rows.
  uint32_t count_ = 0;
  float max_norm_ = 0;
  uint32_t min_handle_ = UINT32_MAX;
  const float* rows_[kPageRows + kRowTile];
  uint16_t places_[kPageRows];  // in the page
  std::vector<Hit> hits_;       // as many as a panel can have
  float thresholds_[kWidestPanel];
  float scores_[kPageRows + kRowTile];
};

}  // namespace pointsman
