// Characters of text, and what they are to the words of a text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace pointsman::text {

enum class Kind : uint8_t {
  Space,
  Letter,  // joins with its neighbours to a word
  Digit,   // a token of its own: what matters of a number is that and how long it is
  Single,  // a token of its own: CJK, Kana, Hangul, punctuation, symbols, emoji
};

Kind kind_of(char32_t c) noexcept;

// Of each byte below 0x80.
inline constexpr std::array<Kind, 0x80> kAsciiKinds = [] {
  std::array<Kind, 0x80> kinds{};
  for (size_t c = 0; c < kinds.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    kinds[c] = c <= ' ' || c == 0x7F  ? Kind::Space
               : c >= '0' && c <= '9' ? Kind::Digit
               : letter               ? Kind::Letter
                                      : Kind::Single;
  }
  return kinds;
}();

// Reads the character that begins at p, with `left` ≥ 1 bytes up to the end, and returns its length. A byte
// that begins no valid sequence (overlong forms and surrogates are none) is U+FFFD, of length 1.
size_t decode(const unsigned char* p, size_t left, char32_t& code) noexcept;

}  // namespace pointsman::text
