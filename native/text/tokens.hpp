// Characters of text that JavaScript has already brought to NFKC and lower case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pointsman::text {

enum class Kind : uint8_t {
  Space,
  Letter,  // joins with its neighbours to a word
  Digit,   // a token of its own: what matters of a number is that and how long it is
  Single,  // a token of its own: CJK, Kana, Hangul, punctuation, symbols, emoji
};

Kind kind_of(char32_t c) noexcept;

// A character and where its bytes begin in the text.
struct Character {
  char32_t code;
  uint32_t begin;
};

// The characters of UTF-8 bytes, with one more at the end (code 0) that marks where the text ends. Every byte
// that is no part of a valid sequence (overlong forms and surrogates too) becomes one U+FFFD. `out` is
// overwritten.
void decode(std::string_view bytes, std::vector<Character>& out);

}  // namespace pointsman::text
