// The project's one hash: 64 bits over bytes, the same on every machine (input is read little-endian).
// Used for ids, for hashed n-grams and as the checksum of snapshot files; not cryptographic.
// Construction: multiply-and-fold of 64-bit words, the folded-multiply family of wyhash and Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pointsman {

uint64_t hash64(const void* data, size_t bytes, uint64_t seed = 0) noexcept;

// Finalising mix of one 64-bit word: a bijection with good avalanche (splitmix64).
inline uint64_t mix64(uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace pointsman
