// Sums in eight lanes: lane j adds the terms i ≡ j mod 8 in rising i. So scores are defined; and so long sums
// are fast, for a plain one must be added up term by term.
#pragma once

#include <stddef.h>

namespace pointsman {

// Internal linkage, here and below: what is compiled for one instruction set must never serve another.
template <typename T>
static inline T folded(const T* lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// ⟨a, b⟩ in float64.
template <typename T>
static inline double dot(const T* a, const T* b, size_t count) {
  double lane[8] = {};
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (size_t j = 0; j < 8; ++j) lane[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  }
  for (; i < count; ++i) lane[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return folded(lane);
}

}  // namespace pointsman
