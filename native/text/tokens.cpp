#include "text/tokens.hpp"

#include <algorithm>
#include <iterator>

namespace pointsman::text {
namespace {

struct Range {
  char32_t first, last;
  Kind kind;
};

// Beyond ASCII, in rising order; what is not listed is a letter.
constexpr Range kRanges[] = {
    {0x80, 0xA0, Kind::Space},        {0xA1, 0xA9, Kind::Single},        {0xAB, 0xB4, Kind::Single},
    {0xB6, 0xB9, Kind::Single},       {0xBB, 0xBF, Kind::Single},        {0xD7, 0xD7, Kind::Single},
    {0xF7, 0xF7, Kind::Single},       {0x660, 0x669, Kind::Digit},       {0x6F0, 0x6F9, Kind::Digit},
    {0x966, 0x96F, Kind::Digit},      {0x1680, 0x1680, Kind::Space},     {0x2000, 0x200A, Kind::Space},
    {0x2010, 0x2027, Kind::Single},   {0x2028, 0x2029, Kind::Space},     {0x202F, 0x202F, Kind::Space},
    {0x2030, 0x205E, Kind::Single},   {0x205F, 0x205F, Kind::Space},     {0x20A0, 0x20CF, Kind::Single},
    {0x2100, 0x2BFF, Kind::Single},   {0x3000, 0x3000, Kind::Space},     {0x3001, 0x30FF, Kind::Single},
    {0x31C0, 0x4DBF, Kind::Single},   {0x4DC0, 0x9FFF, Kind::Single},    {0xAC00, 0xD7AF, Kind::Single},
    {0xE000, 0xFAFF, Kind::Single},   {0xFE30, 0xFE6F, Kind::Single},    {0xFEFF, 0xFEFF, Kind::Space},
    {0xFF00, 0xFFFF, Kind::Single},   {0x1D000, 0x1D3FF, Kind::Single},  {0x1F000, 0x1FAFF, Kind::Single},
    {0x20000, 0x3FFFF, Kind::Single}, {0xE0000, 0x10FFFF, Kind::Single},
};

// The length of the valid sequence that begins at p, its code in `code`; 0 when there is none.
size_t sequence(const unsigned char* p, size_t left, char32_t& code) noexcept {
  const unsigned char lead = p[0];
  size_t length;
  char32_t lowest;
  if (lead < 0x80) {
    code = lead;
    return 1;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    length = 2, lowest = 0x80, code = lead & 0x1F;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    length = 3, lowest = 0x800, code = lead & 0x0F;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    length = 4, lowest = 0x10000, code = lead & 0x07;
  } else {
    return 0;
  }
  if (left < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    code = code << 6 | (p[i] & 0x3F);
  }
  if (code < lowest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
  return length;
}

}  // namespace

Kind kind_of(char32_t c) noexcept {
  if (c < 0x80) return kAsciiKinds[c];
  const Range* range = std::lower_bound(std::begin(kRanges), std::end(kRanges), c,
                                        [](const Range& r, char32_t code) { return r.last < code; });
  return range != std::end(kRanges) && range->first <= c ? range->kind : Kind::Letter;
}

size_t decode(const unsigned char* p, size_t left, char32_t& code) noexcept {
  const size_t length = sequence(p, left, code);
  if (length != 0) return length;
  code = 0xFFFD;
  return 1;
}

}  // namespace pointsman::text
