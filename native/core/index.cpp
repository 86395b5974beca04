// Index: construction and everything that only reads.
#include "pointsman/index.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/filter_rows.hpp"
#include "core/state.hpp"
#include "pointsman/isa.hpp"
#include "pointsman/kernels.hpp"
#include "pointsman/lanes.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {

float checked_norm(const float* row, uint32_t dimensions, const char* what, size_t number) {
  const double squares = dot(row, row, dimensions);
  // A float32 is at most 2^128, its square finite in float64: only NaN or infinity make the sum so.
  if (!std::isfinite(squares)) {
    throw Error(Code::NOT_FINITE,
                std::string(what) + " " + std::to_string(number) + " contains NaN or infinity");
  }
  if (squares > kMaxSquaredNorm) {
    throw Error(Code::NORM_TOO_LARGE,
                std::string(what) + " " + std::to_string(number) + " has a squared norm above 2^126");
  }
  // Four parts in 2^23 up: more than the rounding of the sum, the root and the conversion together.
  return squares == 0 ? 0.0f : static_cast<float>(std::sqrt(squares) * (1 + 0x1p-21)) + 0x1p-149f;
}

void pad_row(const float* from, uint32_t dimensions, uint32_t stride, float* to) {
  std::memcpy(to, from, dimensions * sizeof(float));
  std::memset(to + dimensions, 0, (stride - dimensions) * sizeof(float));
}

namespace {

uint64_t next_index_id() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

// What it takes at least to wake a thread and to be woken by it (55–61 µs where it was measured).
constexpr double kHandOverSeconds = 50e-6;
// Multiply-adds: some tens of microseconds on one thread.
constexpr uint64_t kLittleWork = uint64_t{1} << 21;

uint32_t checked_dimensions(uint32_t dimensions) {
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    throw Error(Code::BAD_DIMENSIONS, "dimensions must be from 1 to 4096, not " + std::to_string(dimensions));
  }
  return dimensions;
}

}  // namespace

Index::Index(uint32_t dimensions, unsigned threads, const std::string& backend)
    : id_(next_index_id()),
      dimensions_(checked_dimensions(dimensions)),
      stride_(stride_of(dimensions)),
      threads_(threads == 0 ? ThreadPool::shared().size() : std::min(threads, ThreadPool::shared().size())),
      state_(std::make_unique<State>()) {
  active_kernels();  // a wrong POINTSMAN_ISA is refused here, not at the first search
  state_->backend = choose_backend(backend, dimensions);
}

Index::~Index() = default;

bool Index::has(std::string_view id) const { return handle_of(id) != Directory::kNoHandle; }

uint32_t Index::handle_of(std::string_view id) const { return state_->directory->find(id); }

std::vector<float> Index::vector(std::string_view id) const {
  const uint32_t handle = handle_of(id);
  if (handle == Directory::kNoHandle) return {};
  // A block leaves the current version only after the directory has left it, so one of these two looks finds
  // the row unless the expert was removed meanwhile.
  for (;;) {
    const Location at = state_->directory->locate(handle);
    if (!at.valid()) return {};
    const auto version = state_->current();
    if (at.slot < version->extents.size() && at.row < version->extents[at.slot].rows &&
        version->extents[at.slot].block->handles[at.row] == handle) {
      const float* row = version->extents[at.slot].block->rows + size_t{at.row} * stride_;
      return {row, row + dimensions_};
    }
  }
}

std::string Index::id_of(uint32_t handle) const { return state_->directory->id_of(handle); }

std::shared_ptr<const Directory> Index::directory() const { return state_->directory; }

std::vector<std::string> Index::ids(uint32_t first, uint32_t most, uint32_t& next) const {
  return state_->directory->page(first, most, next);
}

Filter Index::filter(std::span<const std::string_view> ids, bool complement) const {
  // A version is published before the directory knows its new experts: those are not in the filter, for what
  // is to be excluded could not be found among them.
  const uint32_t known = state_->directory->known_handles();
  const auto version = state_->current();
  Filter filter;
  filter.index = id_;
  filter.handles = std::min(known, version->next_handle);
  filter.bits.assign(filter.handles / 64 + 1, 0);  // with at least one bit beyond `handles`, which stays 0
  filter.rows = std::make_shared<FilterRows>();
  const auto set = [&](uint32_t handle, bool on) {
    if (handle >= filter.handles) return;
    const uint64_t bit = uint64_t{1} << (handle % 64);
    if (on) {
      filter.bits[handle / 64] |= bit;
    } else {
      filter.bits[handle / 64] &= ~bit;
    }
  };
  if (complement) {
    for (const Extent& extent : version->extents) {
      for (uint32_t row = 0; row < extent.rows; ++row) {
        if (!extent.is_dead(row)) set(extent.block->handles[row], true);
      }
    }
  }
  std::vector<uint32_t> handles(ids.size());
  state_->directory->find_all(ids, handles.data());
  for (const uint32_t handle : handles) {
    set(handle, !complement);
  }
  for (const uint64_t word : filter.bits) filter.size += static_cast<uint32_t>(__builtin_popcountll(word));
  return filter;
}

SearchResult Index::search(std::span<const float> queries, uint32_t k, const Filter* filter, unsigned threads,
                           const Cancel& cancel) const {
  if (k < 1 || k > kMaxK) throw Error(Code::BAD_K, "k must be from 1 to 4096, not " + std::to_string(k));
  if (queries.size() % dimensions_ != 0) {
    throw Error(Code::WRONG_SHAPE, "queries must be rows of " + std::to_string(dimensions_) + " numbers");
  }
  if (filter != nullptr && filter->index != id_) {
    throw Error(Code::BAD_ARGUMENT, "the filter belongs to another index");
  }
  const size_t count = queries.size() / dimensions_;
  if (count > UINT32_MAX) throw Error(Code::WRONG_SHAPE, "a batch holds at most 2^32 - 1 queries");

  Buffer padded(count * stride_ * sizeof(float));
  std::vector<float> norms(count);
  for (size_t i = 0; i < count; ++i) {
    float* row = padded.as<float>() + i * stride_;
    pad_row(queries.data() + i * dimensions_, dimensions_, stride_, row);
    norms[i] = checked_norm(row, dimensions_, "query", i);  // of the copy: shared memory may change meanwhile
  }

  SearchResult result;
  result.counts.assign(count, 0);
  result.scores.assign(count * k, -INFINITY);
  result.handles.assign(count * k, 0);

  const auto version = state_->current();
  std::vector<pointsman_block> blocks = version->view();
  state_->searches.fetch_add(1, std::memory_order_relaxed);
  state_->queries.fetch_add(count, std::memory_order_relaxed);
  if (count == 0 || blocks.empty()) return result;

  pointsman_request request{};
  request.blocks = blocks.data();
  request.block_count = blocks.size();
  request.dimensions = dimensions_;
  request.stride = stride_;
  request.queries = padded.as<float>();
  request.query_norms = norms.data();
  request.query_count = static_cast<uint32_t>(count);
  // Little work is not worth waking other threads for.
  const bool little = version->live * dimensions_ * count < kLittleWork;
  request.threads = threads != 0 ? threads : little ? 1 : threads_;
  request.codings = uint32_t{1} << POINTSMAN_BYTES;
  request.k = k;
  request.filter = filter ? filter->bits.data() : nullptr;
  request.filter_handles = filter ? filter->handles : 0;
  request.cancelled = [](const void* context) -> int {
    return static_cast<const Cancel*>(context)->requested();
  };
  request.context = &cancel;
  request.parallel = [](size_t bodies, uint32_t at_once, void (*body)(void*, size_t), void* state) {
    ThreadPool::shared().parallel_for(bodies, at_once, [&](size_t i, unsigned) { body(state, i); });
  };
  request.scores = result.scores.data();
  request.handles = result.handles.data();
  request.counts = result.counts.data();
  if (state_->backend.table != &cpu_backend() && answered_by_plugin(request)) return result;

  const unsigned own = threads == 0 ? threads_ : threads;
  std::vector<FilterRows::LeftOut> left_out;
  if (filter != nullptr) left_out = filter->rows->apply(*filter, blocks, own);

  std::vector<double> prefixes;
  if (version->rotation) {
    prefixes.resize(count * kPrefixComponents);
    constexpr size_t kQueriesAtOnce = 64;
    ThreadPool::shared().parallel_for(
        (count + kQueriesAtOnce - 1) / kQueriesAtOnce, own, [&](size_t part, unsigned) {
          for (size_t i = part * kQueriesAtOnce; i < std::min(count, (part + 1) * kQueriesAtOnce); ++i) {
            version->rotation->apply(padded.as<float>() + i * stride_, &prefixes[i * kPrefixComponents]);
          }
        });
  }

  request.query_prefixes = prefixes.empty() ? nullptr : prefixes.data();
  const Tuning::Choice choice =
      state_->tuning.choose(request.query_count, k, filter != nullptr, request.threads, !prefixes.empty());
  request.codings = choice.codings;
  const auto start = std::chrono::steady_clock::now();
  char message[512] = "";
  if (const int status = cpu_backend().search(&request, message, sizeof message)) {
    throw Error(static_cast<Code>(status - 1), message);
  }
  state_->tuning.report(choice, state_->spent(start) / request.query_count);
  return result;
}

// Asks the plugin. False where it cannot answer and the CPU may: why, is kept for `stats`.
bool Index::answered_by_plugin(const pointsman_request& request) const {
  const BackendState& backend = state_->backend;
  char message[512] = "";
  int status = static_cast<int>(Code::BACKEND_UNAVAILABLE) + 1;
  if (request.k > backend.table->max_k) {
    std::snprintf(message, sizeof message, "it gives at most %u results", backend.table->max_k);
  } else {
    const auto start = std::chrono::steady_clock::now();
    status = backend.table->search(&request, message, sizeof message);
    state_->spent(start);
  }
  const auto code = static_cast<Code>(status - 1);
  if (status == 0 || code == Code::ABORTED || backend.insist) {
    state_->fell_back("");
    if (status == 0) return true;
    throw Error(code, code == Code::ABORTED ? message : "the " + backend.name + " backend: " + message);
  }
  state_->fell_back(message);
  // What it may have written is not to be seen.
  std::fill_n(request.scores, size_t{request.query_count} * request.k, -INFINITY);
  std::fill_n(request.handles, size_t{request.query_count} * request.k, 0u);
  std::fill_n(request.counts, request.query_count, 0u);
  return false;
}

bool Index::hardly_takes_time(std::span<const float> queries, bool filtered) const {
  const auto count = static_cast<uint32_t>(queries.size() / dimensions_);
  return count > 0 && state_->tuning.expected_seconds(count, filtered) * count < kHandOverSeconds;
}

uint64_t Index::bytes() const { return state_->current()->bytes() + state_->directory->bytes(); }

IndexStats Index::stats() const {
  const auto version = state_->current();
  IndexStats stats{};
  for (const Extent& extent : version->extents) {
    if (!extent.block) continue;
    ++stats.blocks;
    stats.dead_rows += extent.dead_count;
  }
  stats.bytes = version->bytes() + state_->directory->bytes();
  stats.pruning =
      version->rotation ? "norms, prefix of " + std::to_string(kPrefixComponents) + " components" : "norms";
  stats.codings = state_->tuning.describe();
  stats.size = version->live;
  stats.dimensions = dimensions_;
  stats.next_handle = version->next_handle;
  stats.version = version->number;
  stats.searches = state_->searches.load(std::memory_order_relaxed);
  stats.search_seconds = 1e-9 * static_cast<double>(state_->nanoseconds.load(std::memory_order_relaxed));
  stats.queries = state_->queries.load(std::memory_order_relaxed);
  stats.backend = state_->backend.name;
  stats.backend_reason = state_->backend.reason;
  {
    std::lock_guard lock(state_->fallback_mutex);
    if (!state_->fallback.empty()) {
      stats.backend_reason = stats.backend + " could not answer the last search: " + state_->fallback;
      stats.backend = "cpu";
    }
  }
  stats.isa = active_kernels().isa;
  stats.isa_reason = active_kernels_reason();
  stats.threads = threads_;
  return stats;
}

}  // namespace pointsman
