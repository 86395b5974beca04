// Pages of float32 rows.
#include <algorithm>

#include "cpu/scan.hpp"
#include "pointsman/bound.hpp"

namespace pointsman {

void RowScan::list_rows(const Page& page) {
  const pointsman_request& request = context_.request;
  const pointsman_block& block = request.blocks[page.block];
  count_ = 0;
  max_norm_ = 0;
  min_handle_ = UINT32_MAX;
  for (uint32_t first = 0; first < page.count; first += 64) {
    uint64_t mask = eligible_of(block, page.first + first);
    for (; mask != 0; mask &= mask - 1) {
      const uint32_t place = first + static_cast<uint32_t>(__builtin_ctzll(mask)), row = page.first + place;
      rows_[count_] = block.rows + size_t{row} * request.stride;
      places_[count_] = static_cast<uint16_t>(place);
      max_norm_ = std::max(max_norm_, block.norms[row]);
      min_handle_ = std::min(min_handle_, block.handles[row]);
      ++count_;
    }
  }
  if (count_ == 0) return;
  for (uint32_t i = count_; i % kRowTile != 0; ++i) rows_[i] = rows_[0];
}

// The approximate score that a row of the list must reach; +∞ when none can.
float RowScan::threshold(const Selection& selection, uint32_t q) const {
  bool strictly;
  const float tau = context_.reach(selection, q, min_handle_, strictly);
  const double norm = context_.request.query_norms[q];
  if (norm * max_norm_ < below(tau)) return INFINITY;
  const float t = scan_threshold(tau, norm, max_norm_, context_.request.dimensions);
  return strictly ? std::nextafter(t, INFINITY) : t;
}

bool RowScan::add(uint32_t q, uint32_t listed, float score, const Page& page, Selection& selection) const {
  const double error = scan_error(context_.request.query_norms[q], max_norm_, context_.request.dimensions);
  const Candidate candidate{round_down(score - error), round_up(score + error), page.block,
                            page.first + places_[listed], Candidate::kUnscored};
  if (!selection.add(candidate, Scorer(context_.request, context_.kernels, q))) return false;
  context_.share(q, selection.threshold());
  return true;
}

void RowScan::scan_each(const QueryGroup& group, const Page& page, Selection* selections) {
  for (uint32_t i = 0; i < group.count; ++i) {
    const uint32_t q = group.first + i;
    float t = threshold(selections[i], q);
    if (t == INFINITY) continue;
    context_.kernels.dots(rows_, count_, context_.batch.query(q), context_.request.stride, scores_);
    for (uint32_t row = 0; row < count_; ++row) {
      if (scores_[row] < t) continue;
      if (add(q, row, scores_[row], page, selections[i])) t = threshold(selections[i], q);
    }
  }
}

void RowScan::scan_panel(const QueryGroup& group, const Panel& panel, const Page& page,
                         Selection* selections) {
  selections += panel.first - group.first;
  float least = INFINITY;
  for (uint32_t i = 0; i < panel.width; ++i) {
    thresholds_[i] = i < panel.count ? threshold(selections[i], panel.first + i) : INFINITY;
    least = std::min(least, thresholds_[i]);
  }
  if (least == INFINITY) return;
  hits_.resize(size_t{kPageRows} * kWidestPanel);
  const uint32_t found = context_.kernels.scan(rows_, count_, panel.values, panel.width,
                                               context_.request.dimensions, thresholds_, hits_.data());
  for (uint32_t h = 0; h < found; ++h) {
    const Hit& hit = hits_[h];
    if (hit.score < thresholds_[hit.query]) continue;  // it has risen since
    const uint32_t q = panel.first + hit.query;
    if (add(q, hit.row, hit.score, page, selections[hit.query])) {
      thresholds_[hit.query] = threshold(selections[hit.query], q);
    }
  }
}

void RowScan::scan(const QueryGroup& group, const Page& page, Selection* selections) {
  list_rows(page);
  if (count_ == 0) return;
  if (group.panels.empty()) scan_each(group, page, selections);
  for (const Panel& panel : group.panels) scan_panel(group, panel, page, selections);
}

}  // namespace pointsman
