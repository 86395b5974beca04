// OpenBLAS and a good top-k as a peer of the search benchmark, in a process of its own, so that its threads
// and environment are its own: the benchmark starts it, and its rounds alternate with those of the others.
//
//   openblas_peer ROWS QUERIES DIMENSIONS THREADS
//
// ROWS and QUERIES are files of float32 values, row-major. Every answer is a line of JSON; the first one,
// after the index is built, says what runs. One command, a line each:
//   search FIRST COUNT K ids|quiet   searches queries FIRST … FIRST + COUNT − 1. {"milliseconds":…}, measured
//                                    inside; after it, if asked for, COUNT × K int32, row-major: row numbers,
//                                    best first, −1 where fewer were found
// The end of its input ends it.
//
// Each thread takes tiles of rows in turn, multiplies a tile with all queries (sgemm; sgemv for a few), and
// keeps, while the tile's scores are in its cache, those above the query's k-th best so far. Thresholds are
// shared by the threads. The size of the tile is tuned for each batch, since it decides between packing the
// queries too often and scores that leave the cache.
#include <cblas.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <map>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

// Row-major float32 values.
struct Matrix {
  const float* values;
  size_t rows;
  size_t dimensions;
};

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

class OpenBlas {
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

  std::string name() const { return "OpenBLAS sgemm + top-k"; }
  std::string version() const {
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE …"
    const size_t start = config.find(' ') + 1;
    return config.substr(start, config.find(' ', start) - start);
  }
  std::string setting() const {
    return "exact, " + std::to_string(threads_) + " threads, tiles tuned for each batch, kernel " +
           openblas_get_corename();
  }
  double bytes_per_row() const { return 4.0 * static_cast<double>(dimensions_); }

  void search(const float* queries, size_t count, size_t k, int32_t* ids) {
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

Matrix map_matrix(const char* path, size_t dimensions) {
  const int file = open(path, O_RDONLY);
  struct stat facts = {};
  if (file < 0 || fstat(file, &facts) != 0) throw std::runtime_error(std::string("cannot read ") + path);
  const size_t bytes = static_cast<size_t>(facts.st_size);
  if (bytes == 0 || bytes % (dimensions * sizeof(float)) != 0)
    throw std::runtime_error(std::string(path) + " does not hold whole rows");
  void* values = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (values == MAP_FAILED) throw std::runtime_error(std::string("cannot map ") + path);
  return {static_cast<const float*>(values), bytes / sizeof(float) / dimensions, dimensions};
}

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void say(const std::string& json) {
  std::printf("%s\n", json.c_str());
  std::fflush(stdout);
}

void answer(OpenBlas& peer, const Matrix& queries, const std::string& line) {
  std::istringstream words(line);
  std::string command, mode;
  words >> command;
  size_t first = 0, count = 0, k = 0;
  if (command != "search" || !(words >> first >> count >> k >> mode) || count < 1 || k < 1 ||
      first > queries.rows || count > queries.rows - first) {
    throw std::runtime_error("bad command");
  }
  std::vector<int32_t> ids(count * k);
  const auto start = std::chrono::steady_clock::now();
  peer.search(queries.values + first * queries.dimensions, count, k, ids.data());
  say("{\"milliseconds\":" + std::to_string(since(start)) + "}");
  if (mode == "ids") {
    std::fwrite(ids.data(), sizeof(int32_t), ids.size(), stdout);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 5) throw std::runtime_error("ROWS QUERIES DIMENSIONS THREADS");
    const size_t dimensions = std::strtoul(arguments[3], nullptr, 10);
    const unsigned threads = static_cast<unsigned>(std::strtoul(arguments[4], nullptr, 10));
    if (dimensions == 0 || threads == 0) throw std::runtime_error("dimensions and threads must be positive");
    const Matrix rows = map_matrix(arguments[1], dimensions);
    const Matrix queries = map_matrix(arguments[2], dimensions);
    const auto start = std::chrono::steady_clock::now();
    OpenBlas peer(rows, threads);
    // It has its own copy by now.
    munmap(const_cast<float*>(rows.values), rows.rows * rows.dimensions * sizeof(float));
    say("{\"name\":\"" + peer.name() + "\",\"version\":\"" + peer.version() + "\",\"setting\":\"" +
        peer.setting() + "\",\"buildSeconds\":" + std::to_string(since(start) / 1000) +
        ",\"bytesPerRow\":" + std::to_string(peer.bytes_per_row()) + "}");
    for (std::string line; std::getline(std::cin, line);) answer(peer, queries, line);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
