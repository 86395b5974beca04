// The project's one hash: 64 bits over bytes, the same on every machine (input is read little-endian).
// Used for ids, for hashed n-grams and as the checksum of snapshot files; not cryptographic.
// Construction: multiply-and-fold of 64-bit words, the folded-multiply family of wyhash and Abseil.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace pointsman {

uint64_t hash64(const void* data, size_t bytes, uint64_t seed = 0) noexcept;

namespace hash_parts {

inline constexpr uint64_t kMul0 = 0xA0761D6478BD642Full, kMul1 = 0xE7037ED1A0B428DBull,
                          kMul2 = 0x8EBC6AF09C88C6E3ull, kMul3 = 0x589965CC75374CC3ull;

constexpr uint64_t fold(uint64_t a, uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// The four chains that hash64 runs on long input, made one.
constexpr uint64_t join(uint64_t a, uint64_t b, uint64_t c, uint64_t d) noexcept {
  return a ^ (b + kMul1) ^ std::rotl(c, 21) ^ std::rotl(d, 42);
}

constexpr uint64_t finish(uint64_t a, uint64_t low, uint64_t high, size_t bytes) noexcept {
  return fold(kMul2 ^ bytes, fold(low ^ kMul3, high ^ a));
}

}  // namespace hash_parts

// hash64 of less than 16 bytes, given as two little-endian words whose further bytes are zero.
constexpr uint64_t hash64_of_words(uint64_t low, uint64_t high, size_t bytes, uint64_t seed = 0) noexcept {
  const uint64_t a = seed ^ hash_parts::kMul0;
  return hash_parts::finish(hash_parts::join(a, a, a, a), low, high, bytes);
}

// Finalising mix of one 64-bit word: a bijection with good avalanche (splitmix64).
inline uint64_t mix64(uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace pointsman
