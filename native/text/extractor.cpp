#include "text/extractor.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "pointsman/hash.hpp"
#include "text/tokens.hpp"

namespace pointsman::text {
namespace {

constexpr uint64_t kBigram = 0x9E3779B97F4A7C15ull, kCharSeed = 1, kShapeSeed = 2;
constexpr size_t kSlack = 8, kKeptRoom = size_t{1} << 20, kDampedSlots = 1024;

// The first `bytes` < 8 bytes at p, from which 8 may be read, as a little-endian word.
uint64_t word_at(const char* p, size_t bytes) noexcept {
  uint64_t x;
  std::memcpy(&x, p, 8);
  if constexpr (std::endian::native == std::endian::big) x = __builtin_bswap64(x);
  return x & ((uint64_t{1} << 8 * bytes) - 1);
}

int part_of(uint32_t column) noexcept { return column < kWords ? 0 : column < kWords + kChars ? 1 : 2; }

uint32_t char_column(uint64_t hash) noexcept { return kWords + static_cast<uint32_t>(hash % kChars); }

}  // namespace

Extractor::Extractor() : counts_(kColumns), present_((kColumns + 63) / 64), damped_(kDampedSlots) {}

Extractor& Extractor::of_this_thread() {
  thread_local Extractor extractor;
  return extractor;
}

void Extractor::extract(const Conversations& in, size_t first, size_t last, std::span<const float> idf,
                        Rows& out) {
  size_t longest = 0;
  for (size_t m = first; m < last; ++m) {
    longest = std::max<size_t>(longest, in.message_ends[m] - (m == 0 ? 0 : in.message_ends[m - 1]));
  }
  if (room_ < longest + 2 + kSlack || room_ > std::max(kKeptRoom, 2 * longest)) {
    text_.reset();
    room_ = 0;
    text_ = std::make_unique_for_overwrite<char[]>(longest + 2 + kSlack);
    room_ = longest + 2 + kSlack;
  }
  if (unfinished_) {
    std::fill(counts_.begin(), counts_.end(), 0.0f);
    std::fill(present_.begin(), present_.end(), 0);
    waiting_ = 0;
  }
  unfinished_ = true;
  shape_ = {};
  shape_.messages = last - first;
  for (size_t m = first; m < last; ++m) {
    const uint32_t begin = m == 0 ? 0 : in.message_ends[m - 1];
    weight_ = in.weights[m];
    read({reinterpret_cast<const char*>(in.bytes.data()) + begin, in.message_ends[m] - begin});
    count();
    shape_.capitals += in.capitals[m];
  }
  weight_ = 1;
  add_shape();
  count();
  write(idf, out);
  unfinished_ = false;
}

void Extractor::count() {
  // Copies, which the stores below cannot change under the compiler's eyes.
  const size_t waiting = waiting_;
  const float weight = weight_;
  float* const counts = counts_.data();
  uint64_t* const present = present_.data();
  for (size_t i = 0; i < waiting; ++i) {
    const uint32_t column = columns_[i];
    counts[column] += weight;
    present[column / 64] |= uint64_t{1} << column % 64;
  }
  waiting_ = 0;
}

// Copies the message to text_, word by word in both senses: runs of letters, and what stands between spaces.
void Extractor::read(std::string_view message) {
  const auto* p = reinterpret_cast<const unsigned char*>(message.data());
  const size_t n = message.size();
  char* to = text_.get();
  *to++ = ' ';
  const char* spaced = to;        // begin of what stands between spaces
  const char* letters = nullptr;  // begin of the run of letters, null outside of one
  bool ascii = true, in_number = false;
  previous_ = 0;
  size_t characters = 0, capitals = 0;
  char32_t last = shape_.last;
  const auto end_letters = [&] {
    if (letters != nullptr) add_word(letters, static_cast<size_t>(to - letters));
    letters = nullptr;
  };
  const auto end_spaced = [&] {
    *to = ' ';
    if (to != spaced) add_char_grams(spaced - 1, to + 1, ascii);
    spaced = ++to;
    ascii = true;
  };
  for (size_t i = 0; i < n; ++characters) {
    char32_t code = p[i];
    size_t length = 1;
    Kind kind;
    if (code < 0x80) {
      kind = kAsciiKinds[code];
    } else {
      length = decode(p + i, n - i, code);
      kind = kind_of(code);
      ascii = false;
      ++shape_.foreign;
    }
    if (kind == Kind::Letter) {
      if (letters == nullptr) letters = to;
      in_number = false;
      if (code < 0x80) {
        capitals += (code & 0x20) == 0;
        code |= 0x20;
        *to++ = static_cast<char>(code);
      } else {
        for (size_t j = 0; j < length; ++j) *to++ = static_cast<char>(p[i + j]);
      }
      last = code;
      i += length;
      continue;
    }
    end_letters();
    const bool digit = kind == Kind::Digit;
    shape_.digits += digit;
    shape_.numbers += digit && !in_number;
    in_number = digit;
    if (kind == Kind::Space) {
      shape_.lines += code == '\n';
      end_spaced();
    } else {
      shape_.symbols += kind == Kind::Single && code < 0x3040;
      shape_.questions += code == '?';
      last = code;
      const char* begin = to;
      for (size_t j = 0; j < length; ++j) *to++ = static_cast<char>(p[i + j]);
      add_word(begin, length);
    }
    i += length;
  }
  end_letters();
  end_spaced();
  shape_.characters += characters;
  shape_.capitals += capitals;
  shape_.last = last;
}

void Extractor::add_word(const char* begin, size_t bytes) {
  const uint64_t word = bytes < 8 ? hash64_of_word(word_at(begin, bytes), bytes) : hash64(begin, bytes);
  add(static_cast<uint32_t>(word % kWords));
  if (previous_ != 0) add(static_cast<uint32_t>(mix64(previous_ * kBigram + word) % kWords));
  if (shape_.first_word == 0) shape_.first_word = word;
  previous_ = word;
}

// The grams of " word ", padded so that beginnings and ends differ from the middle.
void Extractor::add_char_grams(const char* begin, const char* end, bool ascii) {
  if (ascii) {
    // A local count of what waits: the member's would go through memory for each gram.
    size_t waiting = waiting_;
    const auto add_gram = [&](const char* from, size_t length) {
      columns_[waiting++] = char_column(hash64_of_word(word_at(from, length), length, kCharSeed));
    };
    for (const char* from = begin; from + 3 <= end; ++from) {
      if (waiting + 3 > kWaiting) {
        waiting_ = waiting;
        count();
        waiting = 0;
      }
      add_gram(from, 3);
      if (from + 4 <= end) add_gram(from, 4);
      if (from + 5 <= end) add_gram(from, 5);
    }
    waiting_ = waiting;
    return;
  }
  starts_.clear();
  for (const char* at = begin; at < end;) {
    starts_.push_back(at);
    char32_t code;
    at += decode(reinterpret_cast<const unsigned char*>(at), static_cast<size_t>(end - at), code);
  }
  starts_.push_back(end);
  for (size_t length = 3; length <= 5; ++length) {
    for (size_t i = 0; i + length < starts_.size(); ++i) {
      const auto bytes = static_cast<size_t>(starts_[i + length] - starts_[i]);
      add(char_column(hash64(starts_[i], bytes, kCharSeed)));
    }
  }
}

void Extractor::add_shape() {
  const auto add_one = [&](uint64_t which, uint64_t bucket) {
    const uint64_t key = mix64(which * 0x10001 + kShapeSeed) ^ bucket;
    add(kWords + kChars + static_cast<uint32_t>(mix64(key) % kShapes));
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
  add_one(0, static_cast<uint64_t>(std::log2(static_cast<double>(shape_.characters) + 1) + 0.5));
  add_one(1, size(shape_.characters, 2));
  add_one(2, size(shape_.lines, 1));
  add_one(3, share(shape_.digits));
  add_one(4, share(shape_.symbols));
  add_one(5, share(shape_.capitals));
  add_one(6, share(shape_.foreign));
  add_one(7, size(shape_.numbers, 1));
  add_one(8, std::min<uint64_t>(3, shape_.questions));
  add_one(9, shape_.last);
  add_one(10, shape_.first_word);
  add_one(11, size(shape_.messages, 1));
}

double Extractor::damped(float count) {
  Damped& slot = damped_[(std::bit_cast<uint32_t>(count) * 0x9E3779B1u) >> 22];
  if (slot.count != count) slot = {count, std::log1p(1.718281828459045 * count)};
  return slot.value;
}

// Weighs and normalises the counts, and clears them.
void Extractor::write(std::span<const float> idf, Rows& out) {
  const size_t row_begin = out.values.size();
  double squares[3] = {};
  for (size_t w = 0; w < present_.size(); ++w) {
    for (uint64_t bits = present_[w]; bits != 0; bits &= bits - 1) {
      const auto column = static_cast<uint32_t>(64 * w) + static_cast<uint32_t>(std::countr_zero(bits));
      const float count = counts_[column];
      counts_[column] = 0;
      if (count <= 0) continue;
      const int part = part_of(column);
      double value = part == 2 ? 1 : damped(count);
      if (!idf.empty()) value *= idf[column];
      squares[part] += value * value;
      out.columns.push_back(column);
      out.values.push_back(static_cast<float>(value));
    }
    present_[w] = 0;
  }
  if (!idf.empty()) {
    const int parts = (squares[0] > 0) + (squares[1] > 0) + (squares[2] > 0);
    double norms[3];
    for (int part = 0; part < 3; ++part) norms[part] = std::sqrt(squares[part] * parts);
    for (size_t i = row_begin; i < out.values.size(); ++i) {
      out.values[i] = static_cast<float>(out.values[i] / norms[part_of(out.columns[i])]);
    }
  }
  out.starts.push_back(static_cast<uint32_t>(out.values.size()));
}

}  // namespace pointsman::text
