#include "text/utf16.hpp"

#include <algorithm>

namespace pointsman::text {
namespace {

constexpr size_t kChunk = 256;  // units of a loop that the compiler makes vectors of

bool is_ascii(std::u16string_view units) noexcept {
  unsigned any = 0;
  for (const char16_t unit : units) any |= unit;
  return any < 0x80;
}

}  // namespace

size_t find_beyond_ascii(std::u16string_view units, size_t from) noexcept {
  while (from < units.size() && is_ascii(units.substr(from, kChunk))) from += kChunk;
  const auto begin = units.begin() + static_cast<std::ptrdiff_t>(std::min(from, units.size()));
  return static_cast<size_t>(std::find_if(begin, units.end(), [](char16_t unit) { return unit >= 0x80; }) -
                             units.begin());
}

std::pair<size_t, size_t> stretch_beyond_ascii(std::u16string_view units, size_t from,
                                               size_t found) noexcept {
  constexpr size_t kClosely = 16;  // units from one to the next: a call for each costs more than theirs
  const size_t space = units.substr(from, found - from).rfind(u' ');
  const size_t begin = space == std::u16string_view::npos ? from : from + space + 1;
  for (;;) {
    const size_t end = std::min(units.find(u' ', found), units.size());
    const size_t last = std::min(units.size(), end + kClosely);
    found = find_beyond_ascii(units.substr(0, last), end);
    if (found >= last) return {begin, end};
  }
}

}  // namespace pointsman::text
