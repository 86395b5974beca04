// OpenBLAS and a good top-k: each thread takes tiles of rows in turn, multiplies a tile with all queries
// (sgemm; sgemv for a few), and keeps, while the tile's scores are in its cache, those above the query's k-th
// best so far. Thresholds are shared by the threads. The size of the tile is tuned for each batch, since it
// decides between packing the queries too often and scores that leave the cache.
#include <cblas.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>
#include <new>
#include <thread>
#include <vector>

#include "peer.hpp"

namespace {

constexpr size_t kTiles[] = {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
constexpr size_t kScoresAtMost = size_t{16} << 20;  // bytes of a tile's scores
constexpr size_t kTuningRows = 131'072;
constexpr size_t kGemvAtMost = 8;  // queries

struct Hit {
  float score;
  int32_t id;
};
// Better first, so that the front of a heap is the worst.
bool better(const Hit& a, const Hit& b) { return a.score > b.score || (a.score == b.score && a.id < b.id); }

struct Plan {
  size_t tile;
  bool gemv;
};

class OpenBlas final : public Peer {
 public:
  OpenBlas(const Matrix& rows, unsigned threads)
      : rows_(rows.rows), dimensions_(rows.dimensions), threads_(threads) {
    openblas_set_num_threads(1);  // the threads are ours, each with products of its own
    const size_t bytes = rows_ * dimensions_ * sizeof(float);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    madvise(memory, bytes, MADV_HUGEPAGE);
    std::memcpy(memory, rows.values, bytes);
    values_ = static_cast<const float*>(memory);
  }

  std::string name() const override { return "OpenBLAS sgemm + top-k"; }
  std::string version() const override {
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE …"
    const size_t start = config.find(' ') + 1;
    return config.substr(start, config.find(' ', start) - start);
  }
  std::string setting() const override {
    return "exact, " + std::to_string(threads_) + " threads, tiles tuned for each batch, kernel " +
           openblas_get_corename();
  }
  double bytes_per_row() const override { return 4.0 * static_cast<double>(dimensions_); }

  void search(const float* queries, size_t count, size_t k, int32_t* ids) override {
    auto found = plans_.find(count);
    if (found == plans_.end()) found = plans_.emplace(count, tune(queries, count, k)).first;
    run(found->second, queries, count, k, rows_, ids);
  }

 private:
  Plan tune(const float* queries, size_t count, size_t k) const {
    const size_t rows = std::min(rows_, kTuningRows);
    std::vector<int32_t> ids(count * k);
    Plan best = {};
    double fastest = std::numeric_limits<double>::infinity();
    for (const size_t tile : kTiles) {
      if (tile * count * sizeof(float) > kScoresAtMost) continue;
      for (const bool gemv : {false, true}) {
        if (gemv && count > kGemvAtMost) continue;
        double took = std::numeric_limits<double>::infinity();
        for (int repeat = 0; repeat < 3; ++repeat) {
          const auto start = std::chrono::steady_clock::now();
          run({tile, gemv}, queries, count, k, rows, ids.data());
          took =
              std::min(took, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        if (took < fastest) {
          fastest = took;
          best = {tile, gemv};
        }
      }
    }
    if (best.tile == 0) best = {kTiles[0], false};
    return best;
  }

  void run(const Plan& plan, const float* queries, size_t count, size_t k, size_t rows, int32_t* ids) const {
    std::vector<std::vector<Hit>> heaps(threads_ * count);
    std::vector<std::atomic<float>> bars(count);
    for (auto& bar : bars) bar.store(-std::numeric_limits<float>::infinity(), std::memory_order_relaxed);
    std::atomic<size_t> next_tile{0}, next_query{0}, scanning{threads_};
    const auto work = [&](unsigned thread) {
      std::vector<float> scores(plan.tile * count);
      for (size_t start; (start = plan.tile * next_tile.fetch_add(1)) < rows;) {
        const size_t length = std::min(plan.tile, rows - start);
        multiply(plan, queries, count, start, length, scores.data());
        for (size_t q = 0; q < count; ++q) {
          keep(scores.data() + q * plan.tile, length, start, k, heaps[thread * count + q], bars[q]);
        }
      }
      scanning.fetch_sub(1);
      while (scanning.load() > 0) std::this_thread::yield();
      std::vector<Hit> all;
      for (size_t q; (q = next_query.fetch_add(1)) < count;) {
        all.clear();
        for (unsigned t = 0; t < threads_; ++t)
          all.insert(all.end(), heaps[t * count + q].begin(), heaps[t * count + q].end());
        const size_t hits = std::min(k, all.size());
        std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(hits), all.end(), better);
        for (size_t i = 0; i < k; ++i) ids[q * k + i] = i < hits ? all[i].id : -1;
      }
    };
    std::vector<std::thread> team;
    for (unsigned thread = 1; thread < threads_; ++thread) team.emplace_back(work, thread);
    work(0);
    for (auto& thread : team) thread.join();
  }

  // scores[q × tile + i] = ⟨row start + i, query q⟩
  void multiply(const Plan& plan, const float* queries, size_t count, size_t start, size_t length,
                float* scores) const {
    const auto d = static_cast<blasint>(dimensions_), n = static_cast<blasint>(length);
    const float* rows = values_ + start * dimensions_;
    if (plan.gemv) {
      for (size_t q = 0; q < count; ++q) {
        cblas_sgemv(CblasRowMajor, CblasNoTrans, n, d, 1, rows, d, queries + q * dimensions_, 1, 0,
                    scores + q * plan.tile, 1);
      }
    } else {
      cblas_sgemm(CblasColMajor, CblasTrans, CblasNoTrans, n, static_cast<blasint>(count), d, 1, rows, d,
                  queries, d, 0, scores, static_cast<blasint>(plan.tile));
    }
  }

  static void keep(const float* scores, size_t length, size_t start, size_t k, std::vector<Hit>& heap,
                   std::atomic<float>& shared) {
    constexpr size_t kGroup = 32;
    float bar = shared.load(std::memory_order_relaxed);
    for (size_t i = 0; i < length; i += kGroup) {
      const size_t end = std::min(i + kGroup, length);
      if (end - i == kGroup) {
        int any = 0;
        for (size_t j = 0; j < kGroup; ++j) any |= scores[i + j] > bar;
        if (any == 0) continue;
      }
      for (size_t j = i; j < end; ++j) {
        if (scores[j] <= bar) continue;
        if (heap.size() == k) {
          std::pop_heap(heap.begin(), heap.end(), better);
          heap.pop_back();
        }
        heap.push_back({scores[j], static_cast<int32_t>(start + j)});
        std::push_heap(heap.begin(), heap.end(), better);
        if (heap.size() == k) bar = std::max(bar, heap.front().score);
      }
    }
    // The k-th best of any part of the rows is a threshold for all; a lost race only leaves a lower one.
    if (bar > shared.load(std::memory_order_relaxed)) shared.store(bar, std::memory_order_relaxed);
  }

  const size_t rows_, dimensions_;
  const unsigned threads_;
  const float* values_ = nullptr;
  std::map<size_t, Plan> plans_;
};

}  // namespace

std::unique_ptr<Peer> make_openblas(const Matrix& rows, unsigned threads) {
  return std::make_unique<OpenBlas>(rows, threads);
}
