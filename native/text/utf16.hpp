// Where a UTF-16 string is more than ASCII.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

namespace pointsman::text {

// Where the first unit at or after `from` that is no ASCII stands; the length where there is none.
size_t find_beyond_ascii(std::u16string_view units, size_t from) noexcept;

// [begin, end) of a stretch that holds the unit at `found`, which is beyond ASCII: it begins after a space or
// at `from` (≤ found), ends before a space or at the end, and takes in such words as follow closely.
std::pair<size_t, size_t> stretch_beyond_ascii(std::u16string_view units, size_t from, size_t found) noexcept;

}  // namespace pointsman::text
