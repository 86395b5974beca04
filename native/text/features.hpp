// Text features: a conversation becomes a sparse vector x of hashed n-grams in three parts, each brought to
// length one, the whole to length one:
//
//   words   unigrams and bigrams of words                                columns [0, kWords)
//   chars   character 3- to 5-grams inside space-separated words          columns [kWords, kWords + kChars)
//   shape   how the text looks: lengths, shares of digits, symbols, capitals, first word, last character
//                                                                         columns [kWords + kChars, kColumns)
//
// A feature's value is log(1 + (e - 1)·tf)·idf, with tf the sum over messages of weight × count (role and
// recency are the caller's weights) and idf = sqrt(log((1 + n)/(1 + df)) + 1); shape features count once and
// have no idf. The square root halves the exponent of the usual idf: rare n-grams tell which prompt it is,
// not who answers it well.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pointsman/task.hpp"

namespace pointsman::text {

inline constexpr uint32_t kWords = 1u << 17, kChars = 1u << 17, kShapes = 1u << 12;
inline constexpr uint32_t kColumns = kWords + kChars + kShapes;

// Conversations as one run of bytes (UTF-8, NFKC, lower case; of ASCII the case does not matter): message m
// is the bytes up to message_ends[m], conversation c the messages up to conversation_ends[c]. Ends rise and
// the last one is the length.
struct Conversations {
  std::span<const uint8_t> bytes;
  std::span<const uint32_t> message_ends;
  std::span<const uint32_t> conversation_ends;
  std::span<const float> weights;      // one a message, ≥ 0
  std::span<const uint32_t> capitals;  // one a message: those that lower-casing has taken away already
};

// Sparse rows: row i has the entries [starts[i], starts[i + 1]), columns rising.
struct Rows {
  std::vector<uint32_t> starts{0};
  std::vector<uint32_t> columns;
  std::vector<float> values;
  size_t count() const noexcept { return starts.size() - 1; }
};

// Throws WRONG_SHAPE where the parts do not fit, OUT_OF_MEMORY past 2^32 - 1 entries. `idf` is empty (then
// all values are damped counts, for `inverse_frequencies`) or has kColumns entries (then rows are weighed and
// normalised).
Rows features(const Conversations& in, std::span<const float> idf, unsigned threads, const Cancel& cancel,
              const Progress& progress);

// The features, weighed by `idf` and normalised, times `projection` (kColumns × dimensions, row-major): one
// row of `dimensions` a conversation. Sums run in the order of the columns, without fused multiply-adds: the
// bits are the same everywhere. Throws WRONG_SHAPE.
std::vector<float> encode(const Conversations& in, std::span<const float> idf,
                          std::span<const float> projection, size_t dimensions, unsigned threads,
                          const Cancel& cancel);

// The idf of every column, as above; that of a column without entries is the largest.
std::vector<float> inverse_frequencies(std::span<const uint32_t> columns, size_t rows);

}  // namespace pointsman::text
