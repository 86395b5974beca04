// Blocks of rows as an index makes them, for tests and benchmarks that call a backend's table themselves.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "core/backends.hpp"
#include "core/filter_rows.hpp"
#include "core/storage.hpp"
#include "pointsman/backend.hpp"
#include "pointsman/codes.hpp"
#include "pointsman/kernels.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman::test {

struct Results {
  std::vector<float> scores;
  std::vector<uint32_t> handles, counts;

  bool operator==(const Results& other) const {
    return handles == other.handles && counts == other.counts && scores.size() == other.scores.size() &&
           std::memcmp(scores.data(), other.scores.data(), scores.size() * sizeof(float)) == 0;
  }
};

// ‖row‖ rounded up.
inline float norm_up(const float* row, uint32_t dimensions) {
  double squares = 0;
  for (uint32_t i = 0; i < dimensions; ++i) squares += static_cast<double>(row[i]) * row[i];
  return squares == 0 ? 0.0f : static_cast<float>(std::sqrt(squares) * (1 + 0x1p-21)) + 0x1p-149f;
}

// Queries, padded, with their norms.
struct Queries {
  Queries(const std::vector<float>& vectors, uint32_t dimensions)
      : count(static_cast<uint32_t>(vectors.size() / dimensions)),
        padded(count * stride_of(dimensions) * sizeof(float)) {
    for (uint32_t q = 0; q < count; ++q) {
      std::memcpy(padded.as<float>() + size_t{q} * stride_of(dimensions), &vectors[size_t{q} * dimensions],
                  dimensions * sizeof(float));
      norms.push_back(norm_up(&vectors[size_t{q} * dimensions], dimensions));
    }
  }
  uint32_t count;
  Buffer padded;
  std::vector<float> norms;
};

class BlockSet {
 public:
  explicit BlockSet(uint32_t dimensions) : dimensions_(dimensions), stride_(stride_of(dimensions)) {}

  // A new block for so many rows.
  void open(uint32_t capacity) {
    blocks_.push_back({std::make_shared<Block>(capacity, dimensions_, stride_), 0, 0, {}});
  }
  // Rows for the last block; their handles follow those given so far, or begin at `first_handle`.
  void append(const float* rows, uint32_t count) {
    Part& part = blocks_.back();
    Block& block = *part.block;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t row = part.rows + i;
      std::memcpy(block.rows + size_t{row} * stride_, rows + size_t{i} * dimensions_,
                  dimensions_ * sizeof(float));
      block.norms[row] = norm_up(rows + size_t{i} * dimensions_, dimensions_);
      block.handles[row] = next_handle_++;
    }
    for (uint32_t page = part.rows / kCodePage; page < (part.rows + count) / kCodePage; ++page) {
      block.encode(page, dimensions_, stride_);
    }
    part.rows += count;
  }
  // Blocks of at most `capacity` rows for all of these.
  void add(const std::vector<float>& rows, uint32_t capacity = kBlockRows) {
    const auto count = static_cast<uint32_t>(rows.size() / dimensions_);
    for (uint32_t first = 0; first < count; first += capacity) {
      open(capacity);
      append(&rows[size_t{first} * dimensions_], std::min(capacity, count - first));
    }
  }
  // The same for rows that `make` writes, a block at a time on each thread of the pool.
  void generate(uint32_t count, const std::function<void(uint32_t row, float* values)>& make) {
    const uint32_t first = static_cast<uint32_t>(blocks_.size());
    for (uint32_t from = 0; from < count; from += kBlockRows) {
      open(kBlockRows);
      blocks_.back().rows = std::min(kBlockRows, count - from);
    }
    const size_t added = blocks_.size() - first;
    ThreadPool::shared().parallel_for(added, ThreadPool::shared().size(), [&](size_t b, unsigned) {
      const Part& part = blocks_[first + b];
      Block& block = *part.block;
      for (uint32_t row = 0; row < part.rows; ++row) {
        const uint32_t number = static_cast<uint32_t>(b) * kBlockRows + row;
        float* values = block.rows + size_t{row} * stride_;
        make(number, values);
        block.norms[row] = norm_up(values, dimensions_);
        block.handles[row] = next_handle_ + number;
      }
      for (uint32_t page = 0; page < part.rows / kCodePage; ++page) block.encode(page, dimensions_, stride_);
    });
    next_handle_ += count;
  }
  void kill(uint32_t block, uint32_t row) {
    Part& part = blocks_[block];
    auto dead = part.dead ? std::make_shared<DeadRows>(*part.dead) : std::make_shared<DeadRows>();
    dead->resize((part.block->capacity + 63) / 64);
    (*dead)[row / 64] |= uint64_t{1} << (row % 64);
    part.dead = dead;
    ++part.dead_count;
  }
  std::vector<pointsman_block> view() const {
    std::vector<pointsman_block> blocks;
    for (const Part& part : blocks_) {
      if (part.rows == 0) continue;
      const Block& block = *part.block;
      blocks.push_back(
          {block.id,
           block.rows,
           block.norms,
           block.handles,
           part.dead ? part.dead->data() : nullptr,
           nullptr,
           block.capacity,
           part.rows,
           part.dead_count,
           {{block.bytes.codes, block.bytes.pages}, {block.nibbles.codes, block.nibbles.pages}, {}}});
    }
    return blocks;
  }
  uint32_t dimensions() const { return dimensions_; }
  uint32_t handles() const { return next_handle_; }
  void handles_from(uint32_t first) { next_handle_ = first; }
  uint64_t id(uint32_t block) const { return blocks_[block].block->id; }

 private:
  struct Part {
    std::shared_ptr<Block> block;
    uint32_t rows, dead_count;
    std::shared_ptr<DeadRows> dead;
  };
  uint32_t dimensions_, stride_, next_handle_ = 0;
  std::vector<Part> blocks_;
};

// A request with memory for its results, which `Results` then takes.
struct Request : pointsman_request {
  Request(const std::vector<pointsman_block>& searched, uint32_t width, const Queries& asked,
          uint32_t results, const std::vector<uint64_t>* bits = nullptr)
      : pointsman_request{} {
    blocks = searched.data();
    block_count = searched.size();
    dimensions = width;
    stride = stride_of(width);
    queries = asked.padded.as<float>();
    query_norms = asked.norms.data();
    query_count = asked.count;
    codings = 1u << POINTSMAN_BYTES;
    k = results;
    filter = bits ? bits->data() : nullptr;
    filter_handles = bits ? static_cast<uint32_t>(bits->size() * 64) : 0;
    pointsman_request::threads = 2;
    cancelled = [](const void*) { return 0; };
    parallel = [](size_t bodies, uint32_t at_once, void (*body)(void*, size_t), void* state) {
      ThreadPool::shared().parallel_for(bodies, at_once, [&](size_t i, unsigned) { body(state, i); });
    };
    found.scores.assign(size_t{asked.count} * results, -INFINITY);
    found.handles.assign(size_t{asked.count} * results, 0);
    found.counts.assign(asked.count, 0);
    scores = found.scores.data();
    handles = found.handles.data();
    counts = found.counts.data();
  }
  Results found;
};

// What the CPU answers.
inline Results on_cpu(const std::vector<pointsman_block>& blocks, uint32_t dimensions, const Queries& queries,
                      uint32_t k, const std::vector<uint64_t>* filter = nullptr) {
  std::vector<pointsman_block> seen = blocks;
  FilterRows by_row;
  std::vector<FilterRows::LeftOut> left_out;
  if (filter != nullptr) {
    Filter by_handle;
    by_handle.handles = static_cast<uint32_t>(filter->size() * 64);
    by_handle.bits = *filter;
    by_handle.bits.push_back(0);
    left_out = by_row.apply(by_handle, seen, 1);
  }
  Request request(seen, dimensions, queries, k, filter);
  char message[256] = "";
  if (cpu_backend().search(&request, message, sizeof message) != 0) return {};
  return std::move(request.found);
}

}  // namespace pointsman::test
