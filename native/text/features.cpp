#include "text/features.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "pointsman/hash.hpp"
#include "pointsman/thread_pool.hpp"
#include "text/tokens.hpp"

namespace pointsman::text {
namespace {

constexpr size_t kBlock = 16;  // conversations of one task
constexpr uint64_t kBigram = 0x9E3779B97F4A7C15ull, kCharSeed = 1, kShapeSeed = 2;

struct Entry {
  uint32_t column;
  float weight;
};

// Features of one conversation at a time; memory is kept between them.
class Extractor {
 public:
  // Appends the row of messages [first, last) of `in` to `out`.
  void extract(const Conversations& in, size_t first, size_t last, std::span<const float> idf, Rows& out) {
    entries_.clear();
    shape_ = {};
    shape_.messages = last - first;
    for (size_t m = first; m < last; ++m) {
      const uint32_t begin = m == 0 ? 0 : in.message_ends[m - 1];
      const std::string_view text(reinterpret_cast<const char*>(in.bytes.data()) + begin,
                                  in.message_ends[m] - begin);
      decode(text, characters_);
      add_words(text, in.weights[m]);
      add_char_grams(text, in.weights[m]);
      look_at(text, in.capitals[m]);
    }
    add_shape();
    write(idf, out);
  }

 private:
  struct Shape {
    size_t messages = 0, characters = 0, digits = 0, numbers = 0, symbols = 0, capitals = 0, foreign = 0,
           lines = 0, questions = 0;
    uint64_t first_word = 0;
    char32_t last = 0;
  };

  void add_words(std::string_view text, float weight) {
    uint64_t previous = 0;
    for (size_t i = 0; i + 1 < characters_.size();) {
      const Kind kind = kind_of(characters_[i].code);
      size_t end = i + 1;
      if (kind == Kind::Letter) {
        while (end + 1 < characters_.size() && kind_of(characters_[end].code) == Kind::Letter) ++end;
      }
      if (kind != Kind::Space) {
        const uint32_t begin = characters_[i].begin;
        const uint64_t word = hash64(text.data() + begin, characters_[end].begin - begin);
        entries_.push_back({static_cast<uint32_t>(word % kWords), weight});
        if (previous != 0) {
          entries_.push_back({static_cast<uint32_t>(mix64(previous * kBigram + word) % kWords), weight});
        }
        if (shape_.first_word == 0) shape_.first_word = word;
        previous = word;
      }
      i = end;
    }
  }

  // The grams of " word ", padded so that beginnings and ends differ from the middle.
  void add_char_grams(std::string_view text, float weight) {
    for (size_t i = 0; i + 1 < characters_.size();) {
      if (kind_of(characters_[i].code) == Kind::Space) {
        ++i;
        continue;
      }
      padded_.assign(1, ' ');
      offsets_.assign({0, 1});
      for (; i + 1 < characters_.size() && kind_of(characters_[i].code) != Kind::Space; ++i) {
        const uint32_t begin = characters_[i].begin;
        padded_.append(text.substr(begin, characters_[i + 1].begin - begin));
        offsets_.push_back(padded_.size());
      }
      padded_.push_back(' ');
      offsets_.push_back(padded_.size());
      for (size_t length = 3; length <= 5; ++length) {
        for (size_t from = 0; from + length < offsets_.size(); ++from) {
          const uint64_t gram =
              hash64(padded_.data() + offsets_[from], offsets_[from + length] - offsets_[from], kCharSeed);
          entries_.push_back({kWords + static_cast<uint32_t>(gram % kChars), weight});
        }
      }
    }
  }

  void look_at(std::string_view text, uint32_t capitals) {
    shape_.capitals += capitals;
    bool in_number = false;
    for (size_t i = 0; i + 1 < characters_.size(); ++i) {
      const char32_t c = characters_[i].code;
      const Kind kind = kind_of(c);
      const bool digit = kind == Kind::Digit;
      shape_.digits += digit;
      shape_.numbers += digit && !in_number;
      in_number = digit;
      shape_.symbols += kind == Kind::Single && c < 0x3040;
      shape_.foreign += c > 0x7F;
      shape_.lines += c == '\n';
      shape_.questions += c == '?';
      if (kind != Kind::Space) shape_.last = c;
    }
    shape_.characters += text.empty() ? 0 : characters_.size() - 1;
  }

  void add_shape() {
    const auto add = [&](uint64_t which, uint64_t bucket) {
      const uint64_t key = mix64(which * 0x10001 + kShapeSeed) ^ bucket;
      entries_.push_back({kWords + kChars + static_cast<uint32_t>(mix64(key) % kShapes), 1.0f});
    };
    const auto size = [](size_t n, double per_doubling) {
      return static_cast<uint64_t>(per_doubling * std::log2(static_cast<double>(n) + 1));
    };
    // 0 for none, else 1 + doublings of the parts per thousand.
    const auto share = [&](size_t n) {
      if (n == 0) return uint64_t{0};
      return 1 + static_cast<uint64_t>(
                     std::log2(1000.0 * static_cast<double>(n) / static_cast<double>(shape_.characters) + 1));
    };
    add(0, static_cast<uint64_t>(std::log2(static_cast<double>(shape_.characters) + 1) + 0.5));
    add(1, size(shape_.characters, 2));
    add(2, size(shape_.lines, 1));
    add(3, share(shape_.digits));
    add(4, share(shape_.symbols));
    add(5, share(shape_.capitals));
    add(6, share(shape_.foreign));
    add(7, size(shape_.numbers, 1));
    add(8, std::min<uint64_t>(3, shape_.questions));
    add(9, shape_.last);
    add(10, shape_.first_word);
    add(11, size(shape_.messages, 1));
  }

  // Adds up equal columns (in the order of the text, so that the sums' bits are fixed), damps, weighs,
  // normalises.
  void write(std::span<const float> idf, Rows& out) {
    keys_.resize(entries_.size());
    for (size_t i = 0; i < keys_.size(); ++i) keys_[i] = uint64_t{entries_[i].column} << 32 | i;
    std::sort(keys_.begin(), keys_.end());
    const size_t row_begin = out.values.size();
    double squares[3] = {};
    for (size_t i = 0; i < keys_.size();) {
      const auto column = static_cast<uint32_t>(keys_[i] >> 32);
      float count = 0;
      for (; i < keys_.size() && keys_[i] >> 32 == column; ++i)
        count += entries_[static_cast<uint32_t>(keys_[i])].weight;
      if (count <= 0) continue;
      const int part = part_of(column);
      double value = part == 2 ? 1 : std::log1p(1.718281828459045 * count);
      if (!idf.empty()) value *= idf[column];
      squares[part] += value * value;
      out.columns.push_back(column);
      out.values.push_back(static_cast<float>(value));
    }
    if (!idf.empty()) {
      const int parts = (squares[0] > 0) + (squares[1] > 0) + (squares[2] > 0);
      for (size_t i = row_begin; i < out.values.size(); ++i) {
        out.values[i] =
            static_cast<float>(out.values[i] / std::sqrt(squares[part_of(out.columns[i])] * parts));
      }
    }
    out.starts.push_back(static_cast<uint32_t>(out.values.size()));
  }

  static int part_of(uint32_t column) noexcept {
    return column < kWords ? 0 : column < kWords + kChars ? 1 : 2;
  }

  std::vector<Character> characters_;
  std::vector<Entry> entries_;
  std::vector<uint64_t> keys_;
  std::vector<size_t> offsets_;
  std::string padded_;
  Shape shape_;
};

void check_ends(std::span<const uint32_t> ends, size_t length, const char* name) {
  uint32_t previous = 0;
  for (const uint32_t end : ends) {
    if (end < previous) throw Error(Code::WRONG_SHAPE, std::string(name) + " must rise");
    previous = end;
  }
  if (previous != length)
    throw Error(Code::WRONG_SHAPE, std::string(name) + " must end at the length of what they divide");
}

}  // namespace

Rows features(const Conversations& in, std::span<const float> idf, unsigned threads, const Cancel& cancel,
              const Progress& progress) {
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

  const size_t count = in.conversation_ends.size(), blocks = (count + kBlock - 1) / kBlock;
  std::vector<Rows> parts(blocks);
  std::vector<Extractor> extractors(std::max(1u, threads));
  std::atomic<size_t> done{0};
  ThreadPool::shared().parallel_for(blocks, threads, [&](size_t block, unsigned slot) {
    cancel.check();
    const size_t end = std::min(count, (block + 1) * kBlock);
    for (size_t c = block * kBlock; c < end; ++c) {
      extractors[slot].extract(in, c == 0 ? 0 : in.conversation_ends[c - 1], in.conversation_ends[c], idf,
                               parts[block]);
    }
    if (progress) progress(done.fetch_add(1) + 1, blocks);
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
