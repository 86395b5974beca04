// Pages of codes. A page is looked at in the cheapest coding that pays, tile by tile; where that leaves more
// rows of a tile than it saves work, the tile and those after it are looked at in bytes, and the coding rests
// for a few pages.
#include <algorithm>

#include "cpu/scan.hpp"

namespace pointsman {
namespace {

// What it costs to keep a row that a finer coding would have excluded, in steps of one tile (64 rows × 4
// bytes of one query): for a prefix the row is scored at once, mostly waiting for it from memory; for nibbles
// it is collected.
constexpr uint32_t kPrefixHitSteps = 32;
constexpr uint32_t kNibbleHitSteps = 2;
// Rows that matter lie together: a coding may spend what so many tiles save before it has saved it.
constexpr int64_t kCreditTiles = 4;
constexpr uint32_t kPause = 2;

static_assert(kGroupQueries <= 64);  // a bit for each

}  // namespace

// Bits of the eligible rows of each tile.
void CodeScan::mask_rows(const Page& page) {
  const pointsman_block& block = context_.request.blocks[page.block];
  for (uint32_t tile = 0; tile < kCodePage / kTileRows; ++tile) {
    eligible_[tile] = eligible_of(block, page.first + tile * kTileRows);
  }
}

// The least sums of codes with which a row of this page matters to the query; INT32_MAX when none can. The
// bound is on the inner product of what was coded: the vectors, or their prefixes.
CodeThreshold CodeScan::threshold(const Selection& selection, uint32_t q) const {
  constexpr CodeThreshold kAll{INT32_MIN, INT32_MIN}, kNone{INT32_MAX, INT32_MAX};
  const CodedQuery& query = context_.batch.coded(coding_).queries[q];
  bool strictly;
  const float tau = context_.reach(selection, q, page_->min_handle, strictly);
  if (tau == -INFINITY) return kAll;
  if (query.full.step == 0) return tau < 0 || (tau == 0 && !strictly) ? kAll : kNone;
  const double wanted = below(tau);
  if (context_.request.query_norms[q] * static_cast<double>(page_->norm) < wanted) return kNone;
  const auto least = [&](const CodedStep& code) {
    const double sum = (wanted - hidden(query.norm, code)) * code.inverse_step / coded_->scale + code.offset;
    if (sum >= 0x1p30) return INT32_MAX;
    // A whole unit of the sum, which floor may give away, is worth at least 2⁻²⁹·‖q‖‖x‖: it covers all
    // rounding of this float64 arithmetic (2⁻⁴³) and of the float64 sum that a score is.
    return sum <= -0x1p30 ? INT32_MIN : static_cast<int32_t>(std::floor(sum));
  };
  return {least(query.coarse), least(query.full)};
}

// What the codes of this page and of a query can hide of an inner product.
double CodeScan::hidden(double query_norm, const CodedStep& code) const {
  return (query_norm * coded_->error + code.error * coded_->hat) * (1 + 0x1p-30);
}

void CodeScan::open(uint32_t coding, const QueryGroup& group, const Page& page, const Selection* selections) {
  const pointsman_codes& codes = context_.request.blocks[page.block].codings[coding];
  const CodedQueries& queries = context_.batch.coded(coding);
  coding_ = coding;
  coded_ = &codes.pages[page.first / kCodePage];
  codes_ = codes.codes + page.first / kCodePage * page_bytes(coding, context_.request.dimensions);
  active_count_ = 0;
  for (uint32_t i = 0; i < group.count; ++i) {
    const uint32_t q = group.first + i;
    const CodedQuery& query = queries.queries[q];
    const CodeThreshold least = threshold(selections[i], q);
    if (least.coarse == INT32_MAX) continue;
    active_[active_count_] = {i, query.full.step * coded_->scale, query.full.offset,
                              hidden(query.norm, query.full) + query.norm * page_->norm * 0x1p-40};
    query_codes_[active_count_] = queries.codes_of(q);
    thresholds_[active_count_] = least;
    ++active_count_;
  }
}

uint32_t CodeScan::look(uint32_t tile) {
  return context_.kernels.codings[coding_].scan(tile_of(codes_, tile, coding_, context_.request.dimensions),
                                                eligible_[tile], query_codes_, active_count_, thresholds_,
                                                hits_.data());
}

void CodeScan::collect(uint32_t found, uint32_t tile, const QueryGroup& group, const Page& page,
                       Selection* selections) {
  uint64_t risen = 0;  // queries
  const auto raise = [&](uint32_t active) {
    const uint32_t q = group.first + active_[active].query;
    const Selection& selection = selections[active_[active].query];
    context_.share(q, selection.threshold());
    thresholds_[active] = threshold(selection, q);
  };
  // Behind a prefix rows are scored at once.
  const auto fetch = [&](size_t h) {
    if (coding_ != POINTSMAN_PREFIX || h >= found) return;
    Scorer(context_.request, context_.kernels, 0)
        .fetch(page.block, page.first + tile * kTileRows + hits_[h].row);
  };
  for (size_t h = 0; h < Scorer::kAhead; ++h) fetch(h);
  for (uint32_t h = 0; h < found; ++h) {
    const CodeHit& hit = hits_[h];
    fetch(h + Scorer::kAhead);
    if (hit.sum < thresholds_[hit.query].full) continue;  // it has risen since
    const Active& active = active_[hit.query];
    Selection& selection = selections[active.query];
    const uint32_t q = group.first + active.query;
    const Scorer scorer(context_.request, context_.kernels, q);
    Candidate candidate{0, 0, page.block, page.first + tile * kTileRows + hit.row, Candidate::kUnscored};
    if (coding_ == POINTSMAN_PREFIX) {
      scorer.score(candidate);  // its sum bounds the score from above only
    } else {
      const double score = active.unit * (hit.sum - active.offset);
      candidate.lower = round_down(score - active.hidden);
      candidate.upper = round_up(score + active.hidden);
    }
    if (!selection.add(candidate, scorer)) continue;
    if (coding_ == POINTSMAN_PREFIX) {
      raise(hit.query);  // it may spare scoring others of this tile
    } else {
      risen |= uint64_t{1} << hit.query;
    }
  }
  for (; risen != 0; risen &= risen - 1) raise(static_cast<uint32_t>(__builtin_ctzll(risen)));
}

bool CodeScan::all_have_thresholds(const QueryGroup& group, const Selection* selections) const {
  for (uint32_t i = 0; i < group.count; ++i) {
    if (std::max(selections[i].threshold(), context_.shared(group.first + i)) == -INFINITY) return false;
  }
  return true;
}

void CodeScan::scan(const QueryGroup& group, const Page& page, Selection* selections) {
  const pointsman_block& block = context_.request.blocks[page.block];
  hits_.resize(size_t{kTileRows} * group.count);
  page_ = &block.codings[POINTSMAN_BYTES].pages[page.first / kCodePage];
  // Without a threshold every row is kept: then the coding with the best bounds gives the best first ones.
  uint32_t coding = POINTSMAN_BYTES;
  for (uint32_t c = POINTSMAN_CODINGS - 1; c > POINTSMAN_BYTES; --c) {
    if ((context_.request.codings >> c & 1) == 0 || block.codings[c].codes == nullptr) continue;
    if (pause_[c] > 0) {
      --pause_[c];
    } else if (coding == POINTSMAN_BYTES) {
      coding = c;
    }
  }
  if (coding != POINTSMAN_BYTES && !all_have_thresholds(group, selections)) coding = POINTSMAN_BYTES;
  open(coding, group, page, selections);
  if (active_count_ == 0) return;
  mask_rows(page);

  const uint32_t dimensions = context_.request.dimensions;
  const int64_t saved = first_steps(POINTSMAN_BYTES, dimensions) - first_steps(coding_, dimensions);
  const int64_t hit_steps = coding_ == POINTSMAN_PREFIX ? kPrefixHitSteps : kNibbleHitSteps;
  int64_t credit = kCreditTiles * active_count_ * saved;
  for (uint32_t tile = 0; tile < kCodePage / kTileRows; ++tile) {
    if (eligible_[tile] == 0) continue;
    uint32_t found = look(tile);
    if (coding_ != POINTSMAN_BYTES) {
      credit += active_count_ * saved - found * hit_steps;
      if (credit < 0) {
        pause_[coding_] = kPause;
        open(POINTSMAN_BYTES, group, page, selections);
        if (active_count_ == 0) return;
        found = look(tile);
      }
    }
    collect(found, tile, group, page, selections);
  }
}

}  // namespace pointsman
