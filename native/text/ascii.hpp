// Text in ASCII, eight bytes at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "text/tokens.hpp"

namespace pointsman::text {

inline constexpr uint64_t kOnes = 0x0101010101010101u, kHighBits = 0x80 * kOnes;

// Eight bytes as a little-endian word.
inline uint64_t load(const char* p) noexcept {
  uint64_t x;
  std::memcpy(&x, p, 8);
  return std::endian::native == std::endian::big ? __builtin_bswap64(x) : x;
}

inline void store(char* p, uint64_t x) noexcept {
  if constexpr (std::endian::native == std::endian::big) x = __builtin_bswap64(x);
  std::memcpy(p, &x, 8);
}

// The first `bytes` ≤ 8 of the eight at p.
inline uint64_t word_at(const char* p, size_t bytes) noexcept {
  static constexpr uint64_t kMasks[] = {0,
                                        0xFF,
                                        0xFFFF,
                                        0xFFFFFF,
                                        0xFFFFFFFF,
                                        0xFFFFFFFFFF,
                                        0xFFFFFFFFFFFF,
                                        0xFFFFFFFFFFFFFF,
                                        0xFFFFFFFFFFFFFFFF};
  return load(p) & kMasks[bytes];
}

inline bool is_ascii_space(char c) noexcept {
  const auto code = static_cast<unsigned char>(c);
  return code < 0x80 && kAsciiKinds[code] == Kind::Space;
}

inline bool is_letter(char c) noexcept {
  const auto code = static_cast<unsigned char>(c);
  return code < 0x80 && kAsciiKinds[code] == Kind::Letter;
}

// Eight bytes of ASCII at once; what is true of one sets its high bit.
struct Bytes {
  uint64_t code;
  uint64_t letters, capitals, digits, spaces, others;

  explicit Bytes(uint64_t eight) noexcept : code(eight) {
    const uint64_t lowered = code | kOnes * 0x20;
    letters = between(lowered, 'a', 'z');
    capitals = letters & ~(code << 2);  // 0x20 of each byte, moved to its high bit
    digits = between(code, '0', '9');
    spaces = (~at_least(code, ' ' + 1) | at_least(code, 0x7F)) & kHighBits;
    others = ~(letters | digits | spaces) & kHighBits;
  }
  uint64_t equal(char c) const noexcept { return between(code, c, c); }
  static uint64_t at_least(uint64_t bytes, int c) noexcept { return bytes + kOnes * (0x80 - c); }
  static uint64_t between(uint64_t bytes, int low, int high) noexcept {
    return at_least(bytes, low) & ~at_least(bytes, high + 1) & kHighBits;
  }
  static uint64_t mask(uint64_t high_bits) noexcept { return (high_bits >> 7) * 0x0102040810204080u >> 56; }
  void store_lowered(char* to) const noexcept {
    const uint64_t whole = (spaces >> 7) * 0xFF;
    const uint64_t lowered = ((code | letters >> 2) & ~whole) | (kOnes * ' ' & whole);
    store(to, lowered);
  }
};

// Of high bits, as Bytes gives them: how many in all.
class Tally {
 public:
  void add(uint64_t high_bits) noexcept {
    lanes_ += high_bits >> 7;
    if (++added_ == 0xFF) drain();
  }
  size_t total() noexcept {
    drain();
    return total_;
  }

 private:
  void drain() noexcept {
    for (; lanes_ != 0; lanes_ >>= 8) total_ += lanes_ & 0xFF;
    added_ = 0;
  }
  uint64_t lanes_ = 0;
  unsigned added_ = 0;
  size_t total_ = 0;
};

// How many bytes from the first of a message on are whole words in ASCII, the space after the last included;
// as many as go through the nearest caches together.
inline size_t ascii_words(std::string_view message) noexcept {
  constexpr size_t kMost = size_t{1} << 16;
  size_t n = 0;
  while (n < message.size() && (n < kMost || !is_ascii_space(message[n - 1]))) {
    uint64_t bytes = 0;
    const size_t count = n < kMost ? std::min<size_t>(8, message.size() - n) : 1;
    std::memcpy(&bytes, message.data() + n, count);
    if ((bytes & kHighBits) != 0) break;
    n += count;
  }
  if (n == message.size()) return n;
  while (n > 0 && !is_ascii_space(message[n - 1])) --n;
  return n;
}

}  // namespace pointsman::text
