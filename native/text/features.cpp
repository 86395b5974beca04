#include "text/features.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "pointsman/solve.hpp"
#include "pointsman/thread_pool.hpp"
#include "text/extractor.hpp"

namespace pointsman::text {
namespace {

// Conversations of one task at most; fewer where there would be too few tasks for the threads.
constexpr size_t kBlock = 64, kTasksPerThread = 2;

void check_ends(std::span<const uint32_t> ends, size_t length, const char* name) {
  uint32_t previous = 0;
  for (const uint32_t end : ends) {
    if (end < previous) throw Error(Code::WRONG_SHAPE, std::string(name) + " must rise");
    previous = end;
  }
  if (previous != length)
    throw Error(Code::WRONG_SHAPE, std::string(name) + " must end at the length of what they divide");
}

void check(const Conversations& in, std::span<const float> idf) {
  check_ends(in.message_ends, in.bytes.size(), "message ends");
  check_ends(in.conversation_ends, in.message_ends.size(), "conversation ends");
  if (in.weights.size() != in.message_ends.size() || in.capitals.size() != in.message_ends.size()) {
    throw Error(Code::WRONG_SHAPE, "there must be one weight and one count of capitals for each message");
  }
  if (!idf.empty() && idf.size() != kColumns)
    throw Error(Code::WRONG_SHAPE, "idf must have one entry for each column");
  for (const float weight : in.weights) {
    if (!(weight >= 0 && weight <= 1e6f)) throw Error(Code::BAD_ARGUMENT, "weights must be from 0 to 1e6");
  }
}

// Calls body(block, first, last) for blocks of conversations, `size` each.
template <typename Body>
void for_blocks(size_t count, size_t size, unsigned threads, const Cancel& cancel, const Body& body) {
  ThreadPool::shared().parallel_for((count + size - 1) / size, threads, [&](size_t block, unsigned) {
    cancel.check();
    body(block, block * size, std::min(count, (block + 1) * size));
  });
}

void extract(const Conversations& in, size_t c, std::span<const float> idf, Rows& out) {
  Extractor::of_this_thread().extract(in, c == 0 ? 0 : in.conversation_ends[c - 1], in.conversation_ends[c],
                                      idf, out);
}

size_t block_size(size_t count, unsigned threads) {
  return std::clamp<size_t>(count / (size_t{threads} * kTasksPerThread), 1, kBlock);
}

// out (rows × p) = rows times m. Long rows have many columns in common, so they go together through the part
// of m that stays in a core's cache; each still adds its columns in rising order.
void multiply(const Rows& rows, const float* m, uint32_t p, float* out) {
  constexpr size_t kPartBytes = size_t{1} << 17, kLeastEntries = 4;  // of a part of m; of a row in a part
  const auto width = static_cast<uint32_t>(std::max<size_t>(1, kPartBytes / (p * sizeof(float))));
  const size_t parts = (kColumns + width - 1) / width, n = rows.count();
  const bool together = n > 1 && rows.columns.size() >= n * parts * kLeastEntries;
  const auto& kernels = solve_kernels();
  std::vector<size_t> next(rows.starts.begin(), rows.starts.end() - 1);
  for (uint32_t from = 0; from < kColumns; from += together ? width : kColumns) {
    for (size_t i = 0; i < n; ++i) {
      const size_t begin = next[i];
      size_t end = rows.starts[i + 1];
      if (together)
        for (end = begin; end < rows.starts[i + 1] && rows.columns[end] - from < width; ++end) continue;
      kernels.add_rows(m, rows.columns.data() + begin, rows.values.data() + begin, end - begin, p,
                       out + i * p);
      next[i] = end;
    }
  }
}

}  // namespace

Rows features(const Conversations& in, std::span<const float> idf, unsigned threads, const Cancel& cancel,
              const Progress& progress) {
  check(in, idf);
  const size_t count = in.conversation_ends.size(), size = block_size(count, threads);
  std::vector<Rows> parts((count + size - 1) / size);
  std::atomic<size_t> done{0};
  for_blocks(count, size, threads, cancel, [&](size_t block, size_t first, size_t last) {
    for (size_t c = first; c < last; ++c) extract(in, c, idf, parts[block]);
    if (progress) progress(done.fetch_add(1) + 1, parts.size());
  });

  Rows out;
  size_t entries = 0;
  for (const Rows& part : parts) entries += part.values.size();
  if (entries > UINT32_MAX)
    throw Error(Code::OUT_OF_MEMORY, "the conversations have more than 2^32 - 1 features together");
  out.starts.reserve(count + 1);
  out.columns.reserve(entries);
  out.values.reserve(entries);
  for (const Rows& part : parts) {
    const auto base = static_cast<uint32_t>(out.values.size());
    for (size_t i = 1; i < part.starts.size(); ++i) out.starts.push_back(base + part.starts[i]);
    out.columns.insert(out.columns.end(), part.columns.begin(), part.columns.end());
    out.values.insert(out.values.end(), part.values.begin(), part.values.end());
  }
  return out;
}

std::vector<float> encode(const Conversations& in, std::span<const float> idf,
                          std::span<const float> projection, size_t dimensions, unsigned threads,
                          const Cancel& cancel) {
  check(in, idf);
  if (idf.empty() || projection.size() != kColumns * dimensions)
    throw Error(Code::WRONG_SHAPE,
                "idf must have one entry for each column, projection columns × dimensions");
  const size_t count = in.conversation_ends.size();
  std::vector<float> out(count * dimensions);
  for_blocks(count, block_size(count, threads), threads, cancel, [&](size_t, size_t first, size_t last) {
    // This thread's own, kept unless they are large: fresh pages of memory cost more than what is written
    // there.
    constexpr size_t kKeptEntries = size_t{1} << 21;
    thread_local Rows rows;
    if (rows.columns.capacity() > kKeptEntries) rows = {};
    rows.starts.resize(1);
    rows.columns.clear();
    rows.values.clear();
    for (size_t c = first; c < last; ++c) extract(in, c, idf, rows);
    multiply(rows, projection.data(), static_cast<uint32_t>(dimensions), &out[first * dimensions]);
  });
  return out;
}

std::vector<float> inverse_frequencies(std::span<const uint32_t> columns, size_t rows) {
  std::vector<uint32_t> frequency(kColumns, 0);
  for (const uint32_t column : columns) {
    if (column >= kColumns) throw Error(Code::WRONG_SHAPE, "a column is out of range");
    ++frequency[column];
  }
  std::vector<float> idf(kColumns, 1.0f);
  for (uint32_t c = 0; c < kWords + kChars; ++c) {
    idf[c] = static_cast<float>(std::sqrt(
        std::log((1.0 + static_cast<double>(rows)) / (1.0 + static_cast<double>(frequency[c]))) + 1.0));
  }
  return idf;
}

}  // namespace pointsman::text
