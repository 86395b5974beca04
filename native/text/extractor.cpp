#include "text/extractor.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "pointsman/hash.hpp"
#include "text/ascii.hpp"
#include "text/tokens.hpp"

namespace pointsman::text {
namespace {

constexpr uint64_t kBigram = 0x9E3779B97F4A7C15ull, kCharSeed = 1, kShapeSeed = 2;
constexpr size_t kSlack = 16, kShort = 16, kSlots = size_t{1} << 13, kKeptRoom = size_t{1} << 20,
                 kDampedSlots = 1024;

// hash64 of `bytes` < 16 at p, from which 16 may be read: without branches on the length, which cannot be
// foreseen.
uint64_t hash_of_short(const char* p, size_t bytes) noexcept {
  const size_t low = std::min<size_t>(8, bytes);
  return hash64_of_words(word_at(p, low), word_at(p + 8, bytes - low), bytes);
}

// Calls visit(begin, bytes) for the words of a chunk of ASCII that a space follows: runs of letters, and else
// single characters.
template <typename Visit>
void for_words(const char* p, const char* end, const Visit& visit) {
  while (p < end) {
    const char* const begin = p++;
    if (is_letter(*begin))
      while (is_letter(*p)) ++p;
    visit(begin, static_cast<size_t>(p - begin));
  }
}

uint32_t pair_column(uint64_t one, uint64_t next) noexcept {
  return static_cast<uint32_t>(mix64(one * kBigram + next) % kWords);
}

uint32_t char_column(uint64_t hash) noexcept { return kWords + static_cast<uint32_t>(hash % kChars); }

// Of the n-gram of so many characters of ASCII.
uint32_t gram_column(const char* from, size_t length) noexcept {
  return char_column(hash64_of_words(word_at(from, length), 0, length, kCharSeed));
}

}  // namespace

Extractor::Extractor()
    : columns_of_singles_(std::make_unique_for_overwrite<uint32_t[]>(kMostColumns)),
      columns_of_chunks_(std::make_unique_for_overwrite<uint32_t[]>(kMostColumns)),
      slots_(kSlots),
      counts_(kColumns),
      present_(kColumns / 64),
      taken_(std::make_unique_for_overwrite<uint32_t[]>(kColumns)),
      damped_(kDampedSlots) {
  chunks_.reserve(kMostChunks);
}

Extractor& Extractor::of_this_thread() {
  thread_local Extractor extractor;
  return extractor;
}

void Extractor::extract(const Conversations& in, size_t first, size_t last, std::span<const float> idf,
                        Rows& out) {
  if (unfinished_) clear();
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

void Extractor::clear() {
  std::fill(counts_.begin(), counts_.end(), 0.0f);
  std::fill(present_.begin(), present_.end(), 0);
  std::fill(slots_.begin(), slots_.end(), 0);
  chunks_.clear();
  columns_ = singles_ = 0;
}

void Extractor::count() {
  for (const Chunk& chunk : chunks_) {
    count(&columns_of_chunks_[chunk.begin], chunk.end - chunk.begin,
          weight_ * static_cast<float>(chunk.times));
    *chunk.slot = 0;
  }
  chunks_.clear();
  columns_ = 0;
  count(columns_of_singles_.get(), singles_, weight_);
  singles_ = 0;
}

void Extractor::count(const uint32_t* columns, size_t n, float weight) {
  // Copies, which the stores below cannot change under the compiler's eyes.
  float* const counts = counts_.data();
  uint64_t* const present = present_.data();
  for (size_t i = 0; i < n; ++i) {
    const uint32_t column = columns[i];
    counts[column] += weight;
    present[column / 64] |= uint64_t{1} << column % 64;
  }
}

// In pieces: runs of words in ASCII, and single words beyond it.
void Extractor::read(std::string_view message) {
  previous_ = 0;
  while (!message.empty()) {
    size_t piece = ascii_words(message);
    if (piece > 0) {
      read_ascii(message.substr(0, piece));
    } else {
      while (piece < message.size() && !is_ascii_space(message[piece])) ++piece;
      piece = std::min(message.size(), piece + 1);
      read_word(message.substr(0, piece));
    }
    message.remove_prefix(piece);
  }
}

// Letters in lower case and spaces as ' ' go to text_, eight bytes at a time, with one bit a byte for what is
// no space.
void Extractor::read_ascii(std::string_view words) {
  const size_t n = words.size(), blocks = n / 64 + 1;
  make_room(64 * blocks);
  inside_.assign(blocks + 1, 0);
  char* const to = text_.get() + 1;
  Tally capitals, digits, numbers, symbols, lines, questions;
  uint64_t digit_before = 0;
  for (size_t i = 0; i < n; i += 8) {
    char rest[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
    const char* from = words.data() + i;
    if (n - i < 8) from = static_cast<const char*>(std::memcpy(rest, from, n - i));
    const Bytes bytes(load(from));
    inside_[i / 64] |= bytes.mask(~bytes.spaces & kHighBits) << i % 64;
    capitals.add(bytes.capitals);
    digits.add(bytes.digits);
    numbers.add(bytes.digits & ~(bytes.digits << 8 | digit_before));
    digit_before = bytes.digits >> 56;
    symbols.add(bytes.others);
    lines.add(bytes.equal('\n'));
    questions.add(bytes.equal('?'));
    bytes.store_lowered(to + i);
  }
  to[-1] = to[n] = ' ';
  shape_.characters += n;
  shape_.capitals += capitals.total();
  shape_.digits += digits.total();
  shape_.numbers += numbers.total();
  shape_.symbols += symbols.total();
  shape_.lines += lines.total();
  shape_.questions += questions.total();

  uint64_t inside_before = 0;
  for (size_t block = 0; block < blocks; ++block) {
    const uint64_t inside = inside_[block];
    for (uint64_t starts = inside & ~(inside << 1 | inside_before); starts != 0; starts &= starts - 1) {
      const int bit = std::countr_zero(starts);
      // From here on, of this block and the next.
      const uint64_t run = inside >> bit | (inside_[block + 1] << 1) << (63 - bit);
      const auto length = static_cast<size_t>(std::countr_one(run));
      const char* const at = to + 64 * block + bit;
      if (length < kShort) {
        add_short(at, length);
      } else {
        add_once(at,
                 length < 64 ? length : static_cast<size_t>(std::find<const char*>(at, to + n, ' ') - at));
      }
    }
    inside_before = inside >> 63;
  }
  for (size_t i = n; i > 0; --i) {
    if (to[i - 1] == ' ') continue;
    shape_.last = static_cast<unsigned char>(to[i - 1]);
    break;
  }
}

// A chunk of less than kShort bytes, between spaces, from which 16 bytes may be read.
void Extractor::add_short(const char* at, size_t bytes) {
  constexpr size_t kColumnsOfShort = 5 * kShort;  // at most: for each byte a word, its pair, three n-grams
  constexpr size_t kMostProbes = 16;
  if (chunks_.size() == kMostChunks || columns_ + kColumnsOfShort > kMostColumns) count();
  const size_t low_bytes = std::min<size_t>(8, bytes);
  const uint64_t low = word_at(at, low_bytes), high = word_at(at + 8, bytes - low_bytes);
  size_t slot = hash_parts::fold(low ^ hash_parts::kMul1, high ^ hash_parts::kMul2) % kSlots;
  for (size_t probe = 0; slots_[slot] != 0; slot = (slot + 1) % kSlots) {
    Chunk& chunk = chunks_[slots_[slot] - 1u];
    if (chunk.low == low && chunk.high == high) {
      ++chunk.times;
      return link(chunk.first, chunk.last);
    }
    // Who makes chunks that collide gains nothing but that they are not kept.
    if (++probe == kMostProbes) return add_once(at, bytes);
  }
  Chunk chunk{low, high, 0, 0, static_cast<uint32_t>(columns_), 0, 1, &slots_[slot]};
  const auto put = [&](uint64_t column) { columns_of_chunks_[columns_++] = static_cast<uint32_t>(column); };
  for_words(at, at + bytes, [&](const char* begin, size_t length) {
    const uint64_t word = hash_of_short(begin, length);
    put(word % kWords);
    if (chunk.first == 0) {
      chunk.first = word;
    } else {
      put(pair_column(chunk.last, word));
    }
    chunk.last = word;
  });
  const char* from = at - 1;  // the space
  for (; from + 5 <= at + bytes + 1; ++from) {
    put(gram_column(from, 3));
    put(gram_column(from, 4));
    put(gram_column(from, 5));
  }
  if (bytes > 1) {
    put(gram_column(from, 3));
    put(gram_column(from++, 4));
  }
  put(gram_column(from, 3));
  chunk.end = static_cast<uint32_t>(columns_);
  chunks_.push_back(chunk);
  slots_[slot] = static_cast<uint16_t>(chunks_.size());
  link(chunk.first, chunk.last);
}

// The same of any number of bytes, which are not kept.
void Extractor::add_once(const char* at, size_t bytes) {
  const char* const end = at + bytes;
  for_words(at, end, [&](const char* begin, size_t length) { add_word(begin, length); });
  for (size_t length = 3; length <= 5; ++length) {
    for (const char* from = at - 1; from + length <= end + 1; ++from) add(gram_column(from, length));
  }
}

// What stands before an ASCII space, or the end: character by character, with spaces and other kinds beyond
// ASCII.
void Extractor::read_word(std::string_view word) {
  const auto* p = reinterpret_cast<const unsigned char*>(word.data());
  const size_t n = word.size();
  make_room(n);
  char* to = text_.get();
  *to++ = ' ';
  const char* spaced = to;        // begin of what stands between spaces
  const char* letters = nullptr;  // begin of the run of letters, null outside of one
  bool in_number = false;
  const auto end_letters = [&] {
    if (letters != nullptr) add_word(letters, static_cast<size_t>(to - letters));
    letters = nullptr;
  };
  const auto end_spaced = [&] {
    *to = ' ';
    if (to != spaced) add_char_grams(spaced - 1, to + 1);
    spaced = ++to;
  };
  for (size_t i = 0; i < n; ++shape_.characters) {
    char32_t code;
    const size_t length = decode(p + i, n - i, code);
    const Kind kind = kind_of(code);
    shape_.foreign += p[i] >= 0x80;
    if (kind == Kind::Letter) {
      if (letters == nullptr) letters = to;
      in_number = false;
      if (code < 0x80) {
        shape_.capitals += (code & 0x20) == 0;
        code |= 0x20;
        *to++ = static_cast<char>(code);
      } else {
        for (size_t j = 0; j < length; ++j) *to++ = static_cast<char>(p[i + j]);
      }
      shape_.last = code;
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
      shape_.last = code;
      const char* begin = to;
      for (size_t j = 0; j < length; ++j) *to++ = static_cast<char>(p[i + j]);
      add_word(begin, length);
    }
    i += length;
  }
  end_letters();
  end_spaced();
}

void Extractor::make_room(size_t bytes) {
  const size_t needed = bytes + 2 + kSlack;
  if (needed <= room_ && room_ <= std::max(kKeptRoom, 4 * needed)) return;
  text_.reset();
  room_ = 0;
  text_ = std::make_unique_for_overwrite<char[]>(2 * needed);
  room_ = 2 * needed;
}

void Extractor::add_word(const char* begin, size_t bytes) {
  const uint64_t word = bytes < kShort ? hash_of_short(begin, bytes) : hash64(begin, bytes);
  add(static_cast<uint32_t>(word % kWords));
  link(word, word);
}

// What comes next begins and ends with these words.
void Extractor::link(uint64_t first_word, uint64_t last_word) {
  if (previous_ != 0) add(pair_column(previous_, first_word));
  if (shape_.first_word == 0) shape_.first_word = first_word;
  previous_ = last_word;
}

// The character n-grams of one " word ", padded so that beginnings and ends differ from the middle.
void Extractor::add_char_grams(const char* begin, const char* end) {
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

// The columns of [from, to) that are in use go to `columns`, rising; clears their bits. Returns how many.
size_t Extractor::take(uint32_t from, uint32_t to, uint32_t* columns) {
  size_t n = 0;
  for (uint32_t w = from / 64; w < to / 64; ++w) {
    for (uint64_t bits = present_[w]; bits != 0; bits &= bits - 1)
      columns[n++] = 64 * w + static_cast<uint32_t>(std::countr_zero(bits));
    present_[w] = 0;
  }
  return n;
}

// Weighs and normalises the counts, and clears them.
void Extractor::write(std::span<const float> idf, Rows& out) {
  constexpr uint32_t kParts[][2] = {{0, kWords}, {kWords, kWords + kChars}, {kWords + kChars, kColumns}};
  uint32_t* const columns = taken_.get();
  double squares[3] = {};
  size_t bounds[4] = {out.values.size()};  // of the parts among the entries
  for (int part = 0; part < 3; ++part) {
    const auto [from, to] = kParts[part];
    const size_t n = take(from, to, columns), begin = bounds[part];
    out.columns.resize(begin + n);
    out.values.resize(begin + n);
    double sum = 0;
    size_t kept = begin;
    for (size_t i = 0; i < n; ++i) {
      const uint32_t column = columns[i];
      const float count = counts_[column];
      counts_[column] = 0;
      double value = part == 2 ? 1 : damped(count);
      if (!idf.empty()) value *= idf[column];
      sum += value * value;
      out.columns[kept] = column;
      out.values[kept] = static_cast<float>(value);
      kept += count > 0;
    }
    squares[part] = sum;
    out.columns.resize(kept);
    out.values.resize(kept);
    bounds[part + 1] = kept;
  }
  if (!idf.empty()) {
    const int parts = (squares[0] > 0) + (squares[1] > 0) + (squares[2] > 0);
    for (int part = 0; part < 3; ++part) {
      if (squares[part] == 0) continue;  // none, or all weighed with nothing
      const double norm = std::sqrt(squares[part] * parts);
      float* const values = out.values.data();
      for (size_t i = bounds[part]; i < bounds[part + 1]; ++i)
        values[i] = static_cast<float>(values[i] / norm);
    }
  }
  out.starts.push_back(static_cast<uint32_t>(out.values.size()));
}

}  // namespace pointsman::text
