// One search on one lane.
//
// Queries are taken in pieces whose candidates fit in memory. For each piece units are scanned in growing
// ranges, a selection after each: the first few units give a threshold, which the next range, larger by
// `growth`, sharpens, so that each leaves a few times k candidates. All of this is queued without waiting.
// Where more candidates came than there is room for (many equal rows), the query is scanned again, with the
// threshold found so far, in ranges that are halved until nothing is lost; after each, what is left is scored
// and cut to k.
#pragma once

#include <vector>

#include "cuda/engine.hpp"
#include "cuda/kernels.hpp"

namespace pointsman::cuda {

class Search {
 public:
  Search(Engine& engine, Lane& lane, const pointsman_request& request, const char* kernel);
  ~Search();  // nothing is under way any more afterwards
  Search(const Search&) = delete;

  Report run();

 private:
  void plan();
  void choose_units();
  void piece(uint32_t first, uint32_t count);
  void send_queries(uint32_t count);
  void scan(uint32_t first, uint32_t end);
  void select(bool settle, bool last);
  void scan_in_ranges();
  void scan_again(const std::vector<uint32_t>& queries);
  void scan_halving(uint32_t first, uint32_t end, const std::vector<uint32_t>& queries);
  std::vector<std::vector<Candidate>> score_on_host(const std::vector<uint32_t>& queries);
  void settle_on_host(const std::vector<uint32_t>& queries);
  void give_results(const std::vector<uint32_t>& queries);
  void run_only(const std::vector<uint32_t>& queries);
  std::vector<uint32_t> stopped_of(const std::vector<uint32_t>& queries) const;
  void read_states();
  void write_states();
  void check(cudaError_t error, const char* what) { engine_.device().check(error, what); }
  void check_cancelled() const;

  Engine& engine_;
  Lane& lane_;
  const pointsman_request& request_;
  std::shared_ptr<const Image> image_;
  Report report_;

  // Of the request.
  const char* const wanted_kernel_;  // null: the one for the batch
  const ScanKernel* kernel_ = nullptr;
  uint32_t capacity_ = 0;  // candidates of a query
  uint32_t growth_ = 0;    // of one range over all before it
  uint32_t piece_ = 0;     // queries at a time
  Memory filter_, eligible_, list_;
  uint32_t positions_ = 0;          // units to scan
  uint32_t tails_ = 0;              // the first so many have no codes
  const uint64_t* upto_ = nullptr;  // eligible rows before each position, and of all
  std::vector<uint64_t> filtered_upto_;

  // Of the piece.
  uint32_t first_ = 0;  // query
  Scan scan_{};
  Selection selection_{};
  QueryState* states_ = nullptr;  // on the host
};

}  // namespace pointsman::cuda
