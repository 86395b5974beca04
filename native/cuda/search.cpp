#include "cuda/search.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cuda/host_score.hpp"

namespace pointsman::cuda {
namespace {

constexpr uint32_t kFewestCandidates = 4096;  // room for a query's
constexpr uint32_t kCandidatesPerResult = 16;
// Of a range over all before it: past 100 the luck of the first rows begins to tell (k = 1: in one search of
// 10^17).
constexpr uint32_t kMostGrowth = 100;
constexpr uint32_t kMostQueries = 1024;  // at a time
constexpr size_t kMostScratch = size_t{128} << 20;
constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();

uint32_t power_of_two_from(uint32_t n) {
  uint32_t power = 1;
  while (power < n) power *= 2;
  return power;
}

// Hands out parts of a piece of memory, or only counts what they need.
class Parts {
 public:
  explicit Parts(uint8_t* memory) : memory_(memory) {}
  template <typename T>
  T* take(size_t count) {
    T* part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += (count * sizeof(T) + 255) / 256 * 256;
    return part;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* memory_;
  size_t used_ = 0;
};

struct DeviceParts {
  DeviceParts(uint8_t* memory, const pointsman_request& request, uint32_t queries, uint32_t capacity)
      : parts(memory) {
    const uint32_t groups = (queries + kFragmentQueries - 1) / kFragmentQueries;
    states = parts.take<QueryState>(queries);
    norms = parts.take<float>(queries);
    vectors = parts.take<float>(size_t{queries} * request.stride);
    coded = parts.take<CodedQuery>(queries);
    codes = parts.take<Words>(size_t{groups} * chunks_of(request.dimensions) * kFragmentQueries * 4);
    scores = parts.take<float>(size_t{queries} * request.k);
    handles = parts.take<uint32_t>(size_t{queries} * request.k);
    candidates = parts.take<Candidate>(size_t{queries} * capacity);
  }
  Parts parts;
  QueryState* states;
  float *norms, *vectors;
  CodedQuery* coded;
  Words* codes;
  float* scores;
  uint32_t* handles;
  Candidate* candidates;
};

struct HostParts {
  HostParts(uint8_t* memory, const pointsman_request& request, uint32_t queries) : parts(memory) {
    states = parts.take<QueryState>(queries);
    norms = parts.take<float>(queries);
    vectors = parts.take<float>(size_t{queries} * request.stride);
    scores = parts.take<float>(size_t{queries} * request.k);
    handles = parts.take<uint32_t>(size_t{queries} * request.k);
  }
  Parts parts;
  QueryState* states;
  float *norms, *vectors, *scores;
  uint32_t* handles;
};

// The kernel for so many queries: the first that takes them all, as long as two blocks of threads find room.
const ScanKernel& kernel_for(uint32_t queries, uint32_t dimensions, size_t shared, const char* wanted) {
  const ScanKernel* best = nullptr;
  for (uint32_t i = 0; i < kScanKernelCount; ++i) {
    const ScanKernel& kernel = kScanKernels[i];
    if (wanted != nullptr && std::strcmp(wanted, kernel.name) == 0) return kernel;
    if (best != nullptr && (best->queries >= queries || kernel.memory(dimensions) > shared / 2)) continue;
    best = &kernel;
  }
  return *best;
}

}  // namespace

Search::Search(Engine& engine, Lane& lane, const pointsman_request& request, const char* kernel)
    : engine_(engine), lane_(lane), request_(request), wanted_kernel_(kernel) {}

Search::~Search() { cudaStreamSynchronize(lane_.stream.get()); }

Report Search::run() {
  image_ = engine_.residency().acquire(request_);
  report_.rows_on_device = image_->rows_on_device;
  plan();
  choose_units();
  for (uint32_t first = 0; first < request_.query_count; first += piece_) {
    piece(first, std::min(piece_, request_.query_count - first));
  }
  return report_;
}

void Search::check_cancelled() const {
  if (request_.cancelled(request_.context)) throw Error(Code::ABORTED, "the search was aborted");
}

void Search::plan() {
  const uint32_t k = request_.k;
  capacity_ = engine_.limits().candidates != 0
                  ? engine_.limits().candidates
                  : std::max(kFewestCandidates, power_of_two_from(k * kCandidatesPerResult));
  // A unit after k that are kept must find room, or halving ranges would not end.
  capacity_ = std::max(capacity_, k + kCodePage);
  growth_ = std::min(kMostGrowth, 2 + capacity_ / (4 * k));

  const size_t most = std::min(kMostScratch, engine_.device().budget() / 16);
  piece_ = std::min(request_.query_count, kMostQueries);
  while (piece_ > 1 && DeviceParts(nullptr, request_, piece_, capacity_).parts.used() > most) {
    piece_ = (piece_ + 1) / 2;
  }
  kernel_ = &kernel_for(piece_, request_.dimensions, engine_.device().shared_memory(), wanted_kernel_);
  report_.kernel = kernel_->name;

  const size_t device = DeviceParts(nullptr, request_, piece_, capacity_).parts.used();
  const size_t host =
      std::max(HostParts(nullptr, request_, piece_).parts.used(), image_->count * sizeof(uint32_t));
  if (lane_.scratch.bytes() < device) {
    lane_.scratch = Memory();
    lane_.scratch = engine_.residency().allocate(device);
  }
  if (lane_.host.bytes() < host) {
    lane_.host = Pinned();
    lane_.host = engine_.device().allocate_pinned(host);
  }
}

// Which units have rows to look at, and how many.
void Search::choose_units() {
  positions_ = image_->count;
  tails_ = image_->tails;
  scan_ = {};
  scan_.units = image_->units.as<Unit>();
  scan_.eligible = image_->eligible.as<uint64_t>();
  upto_ = image_->upto.data();
  if (request_.filter != nullptr) {
    const uint32_t units = image_->count;
    const cudaStream_t stream = lane_.stream.get();
    const size_t filter_bytes = (request_.filter_handles + 63) / 64 * sizeof(uint64_t);
    filter_ = engine_.residency().allocate(std::max(filter_bytes, sizeof(uint64_t)));
    eligible_ = engine_.residency().allocate(units * kTiles * sizeof(uint64_t));
    list_ = engine_.residency().allocate(units * sizeof(uint32_t));
    check(cudaMemcpyAsync(filter_.as<void>(), request_.filter, filter_bytes, cudaMemcpyHostToDevice, stream),
          "upload of the filter");
    check(launch_eligible(scan_.units, units, filter_.as<uint64_t>(), request_.filter_handles,
                          eligible_.as<uint64_t>(), list_.as<uint32_t>(), stream),
          "eligible rows");
    uint32_t* counts = lane_.host.as<uint32_t>();
    check(cudaMemcpyAsync(counts, list_.as<void>(), units * sizeof(uint32_t), cudaMemcpyDeviceToHost, stream),
          "eligible rows");
    check(cudaStreamSynchronize(stream), "eligible rows");
    std::vector<uint32_t> list;
    filtered_upto_.assign(1, 0);
    for (uint32_t unit = 0; unit < units; ++unit) {
      if (unit == image_->tails) tails_ = static_cast<uint32_t>(list.size());
      if (counts[unit] == 0) continue;
      list.push_back(unit);
      filtered_upto_.push_back(filtered_upto_.back() + counts[unit]);
    }
    if (image_->tails == units) tails_ = static_cast<uint32_t>(list.size());
    positions_ = static_cast<uint32_t>(list.size());
    std::copy(list.begin(), list.end(), counts);
    check(cudaMemcpyAsync(list_.as<void>(), counts, list.size() * sizeof(uint32_t), cudaMemcpyHostToDevice,
                          stream),
          "units of the filter");
    check(cudaStreamSynchronize(stream), "units of the filter");
    scan_.list = list_.as<uint32_t>();
    scan_.eligible = eligible_.as<uint64_t>();
    upto_ = filtered_upto_.data();
  }
}

void Search::piece(uint32_t first, uint32_t count) {
  check_cancelled();
  const cudaStream_t stream = lane_.stream.get();
  check(cudaEventRecord(lane_.begin.get(), stream), "event");
  first_ = first;
  send_queries(count);
  scan_in_ranges();
  read_states();
  std::vector<uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0u);
  const std::vector<uint32_t> lost = stopped_of(all);
  if (!lost.empty()) {
    scan_again(lost);
    if (image_->rows_on_device) {
      run_only(lost);
      select(true, true);
      read_states();
    }
  }
  give_results(all);
  check(cudaEventRecord(lane_.end.get(), stream), "event");
  check(cudaEventSynchronize(lane_.end.get()), "search");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, lane_.begin.get(), lane_.end.get()), "event");
  report_.device_seconds += milliseconds * 1e-3;
}

void Search::send_queries(uint32_t count) {
  const cudaStream_t stream = lane_.stream.get();
  const DeviceParts device(lane_.scratch.as<uint8_t>(), request_, count, capacity_);
  const HostParts host(lane_.host.as<uint8_t>(), request_, count);
  states_ = host.states;
  for (uint32_t q = 0; q < count; ++q) states_[q] = {-INFINITY, UINT32_MAX, 0, 0, 0};
  const size_t stride = request_.stride;
  std::memcpy(host.norms, request_.query_norms + first_, count * sizeof(float));
  std::memcpy(host.vectors, request_.queries + first_ * stride, count * stride * sizeof(float));
  const auto send = [&](void* to, const void* from, size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "upload of queries");
  };
  send(device.states, host.states, count * sizeof(QueryState));
  send(device.norms, host.norms, count * sizeof(float));
  send(device.vectors, host.vectors, count * stride * sizeof(float));
  check(launch_encode(device.vectors, device.norms, count, request_.dimensions, request_.stride, device.coded,
                      device.codes, stream),
        "encoding of queries");

  scan_.queries = device.coded;
  scan_.codes = device.codes;
  scan_.vectors = device.vectors;
  scan_.states = device.states;
  scan_.candidates = device.candidates;
  scan_.capacity = capacity_;
  scan_.query_count = count;
  scan_.dimensions = request_.dimensions;
  scan_.steps = coding_steps(POINTSMAN_BYTES, request_.dimensions);
  scan_.chunks = chunks_of(request_.dimensions);
  scan_.stride = request_.stride;
  selection_ = {scan_.units,     scan_.vectors, scan_.states, scan_.candidates, capacity_,     count,
                request_.stride, request_.k,    kNever,       device.scores,    device.handles};
}

// Queues the scan of positions first…end − 1 of the list of units.
void Search::scan(uint32_t first, uint32_t end) {
  const cudaStream_t stream = lane_.stream.get();
  if (first < tails_)
    check(launch_tails(scan_, first, std::min(end, tails_), stream), "scan of the last rows");
  const uint32_t coded = std::max(first, tails_);
  if (coded < end) check(kernel_->launch(scan_, coded, end, stream), "scan");
}

// `settle`: what is left is scored and cut to k, where rows are on the device. `last`: and results are
// written.
void Search::select(bool settle, bool last) {
  Selection selection = selection_;
  if (image_->rows_on_device) selection.settle_from = settle ? 0 : capacity_ / 4;
  if (!last) selection.scores = nullptr;
  check(launch_select(selection, lane_.stream.get()), "selection");
}

void Search::scan_in_ranges() {
  const uint64_t all = upto_[positions_];
  // The first rows are all kept; then as few ranges as the growth allows, of like growth.
  const uint64_t sample = std::max(request_.k, capacity_ / 2);
  const double times = static_cast<double>(all) / static_cast<double>(sample);
  const double growth = times > 1 ? std::pow(times, 1 / std::ceil(std::log(times) / std::log(growth_))) : 1;
  double wanted = static_cast<double>(sample);
  uint32_t first = 0;
  do {
    check_cancelled();
    const auto reached = std::lower_bound(upto_ + first, upto_ + positions_, static_cast<uint64_t>(wanted));
    uint32_t end = static_cast<uint32_t>(reached - upto_);
    end = std::min(positions_, std::max(end, first + 1));
    if (first < end) scan(first, end);
    const bool last = end == positions_;
    select(false, last && image_->rows_on_device);
    first = end;
    wanted *= growth;
  } while (first < positions_);
}

// Queries of which candidates were lost, from the first unit, with the thresholds that they have now.
void Search::scan_again(const std::vector<uint32_t>& queries) {
  for (const uint32_t q : queries) states_[q].count = states_[q].kept = 0;
  scan_halving(0, positions_, queries);
}

void Search::scan_halving(uint32_t first, uint32_t end, const std::vector<uint32_t>& queries) {
  check_cancelled();
  ++report_.redone;
  run_only(queries);
  scan(first, end);
  select(true, false);
  read_states();
  const std::vector<uint32_t> lost = stopped_of(queries);
  if (!image_->rows_on_device) {
    std::vector<uint32_t> others;
    std::set_difference(queries.begin(), queries.end(), lost.begin(), lost.end(), std::back_inserter(others));
    settle_on_host(others);
  }
  if (lost.empty()) return;
  if (end - first == 1) throw Error(Code::INTERNAL, "a unit's rows found no room");
  const uint32_t middle = first + (end - first) / 2;
  scan_halving(first, middle, lost);
  scan_halving(middle, end, lost);
}

void Search::run_only(const std::vector<uint32_t>& queries) {
  for (uint32_t q = 0; q < scan_.query_count; ++q) states_[q].stopped = 1;
  for (const uint32_t q : queries) states_[q].stopped = 0;
  write_states();
}

std::vector<uint32_t> Search::stopped_of(const std::vector<uint32_t>& queries) const {
  std::vector<uint32_t> stopped;
  for (const uint32_t q : queries) {
    if (states_[q].stopped != 0) stopped.push_back(q);
  }
  return stopped;
}

void Search::read_states() {
  check(cudaMemcpyAsync(states_, scan_.states, scan_.query_count * sizeof(QueryState), cudaMemcpyDeviceToHost,
                        lane_.stream.get()),
        "states of queries");
  check(cudaStreamSynchronize(lane_.stream.get()), "search");
}

void Search::write_states() {
  check(cudaMemcpyAsync(scan_.states, states_, scan_.query_count * sizeof(QueryState), cudaMemcpyHostToDevice,
                        lane_.stream.get()),
        "states of queries");
}

// The candidates of queries, scored and sorted on the host, cut to k.
std::vector<std::vector<Candidate>> Search::score_on_host(const std::vector<uint32_t>& queries) {
  std::vector<std::vector<Candidate>> candidates(queries.size());
  for (size_t i = 0; i < queries.size(); ++i) {
    const uint32_t q = queries[i];
    candidates[i].resize(states_[q].count);
    if (candidates[i].empty()) continue;
    check(
        cudaMemcpyAsync(candidates[i].data(), scan_.candidates + size_t{q} * capacity_,
                        candidates[i].size() * sizeof(Candidate), cudaMemcpyDeviceToHost, lane_.stream.get()),
        "candidates");
  }
  check(cudaStreamSynchronize(lane_.stream.get()), "search");
  struct Job {
    const Search* search;
    const uint32_t* queries;
    std::vector<Candidate>* candidates;
  } job{this, queries.data(), candidates.data()};
  const auto body = [](void* state, size_t i) {
    const auto& [search, numbers, lists] = *static_cast<Job*>(state);
    const pointsman_request& request = search->request_;
    const float* query = request.queries + size_t{search->first_ + numbers[i]} * request.stride;
    best_of(lists[i], search->image_->host_rows, query, request.stride, request.k);
  };
  if (request_.parallel != nullptr) {
    request_.parallel(queries.size(), request_.threads, body, &job);
  } else {
    for (size_t i = 0; i < queries.size(); ++i) body(&job, i);
  }
  return candidates;
}

void Search::settle_on_host(const std::vector<uint32_t>& queries) {
  const auto candidates = score_on_host(queries);
  for (size_t i = 0; i < queries.size(); ++i) {
    QueryState& state = states_[queries[i]];
    state.count = state.kept = static_cast<uint32_t>(candidates[i].size());
    if (candidates[i].empty()) continue;
    if (state.count == request_.k) {
      state.tau = candidates[i].back().lower;
      state.worst = candidates[i].back().handle;
    }
    check(
        cudaMemcpyAsync(scan_.candidates + size_t{queries[i]} * capacity_, candidates[i].data(),
                        candidates[i].size() * sizeof(Candidate), cudaMemcpyHostToDevice, lane_.stream.get()),
        "candidates");
  }
  write_states();
  check(cudaStreamSynchronize(lane_.stream.get()), "search");
}

void Search::give_results(const std::vector<uint32_t>& queries) {
  const uint32_t k = request_.k, count = scan_.query_count;
  const auto give = [&](uint32_t q, uint32_t found, const auto& hit) {
    float* scores = request_.scores + size_t{first_ + q} * k;
    uint32_t* handles = request_.handles + size_t{first_ + q} * k;
    for (uint32_t i = 0; i < k; ++i) {
      const std::pair<float, uint32_t> one = i < found ? hit(i) : std::pair(-INFINITY, uint32_t{0});
      scores[i] = one.first;
      handles[i] = one.second;
    }
    request_.counts[first_ + q] = found;
  };
  if (!image_->rows_on_device) {
    const auto candidates = score_on_host(queries);
    for (const uint32_t q : queries) {
      const auto& best = candidates[q];
      give(q, static_cast<uint32_t>(best.size()),
           [&](uint32_t i) { return std::pair(best[i].lower, best[i].handle); });
    }
    return;
  }
  const HostParts host(lane_.host.as<uint8_t>(), request_, count);
  const size_t bytes = size_t{count} * k * sizeof(float);
  check(cudaMemcpyAsync(host.scores, selection_.scores, bytes, cudaMemcpyDeviceToHost, lane_.stream.get()),
        "results");
  check(cudaMemcpyAsync(host.handles, selection_.handles, bytes, cudaMemcpyDeviceToHost, lane_.stream.get()),
        "results");
  check(cudaStreamSynchronize(lane_.stream.get()), "search");
  for (const uint32_t q : queries) {
    const float* scores = host.scores + size_t{q} * k;
    const uint32_t* handles = host.handles + size_t{q} * k;
    give(q, states_[q].count, [&](uint32_t i) { return std::pair(scores[i], handles[i]); });
  }
}

}  // namespace pointsman::cuda
