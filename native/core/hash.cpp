#include "pointsman/hash.hpp"

#include <bit>
#include <cstring>

namespace pointsman {
namespace {

constexpr uint64_t kMul0 = 0xA0761D6478BD642Full;
constexpr uint64_t kMul1 = 0xE7037ED1A0B428DBull;
constexpr uint64_t kMul2 = 0x8EBC6AF09C88C6E3ull;
constexpr uint64_t kMul3 = 0x589965CC75374CC3ull;

uint64_t fold(uint64_t a, uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t read64(const unsigned char* p) noexcept {
  uint64_t x;
  std::memcpy(&x, p, 8);
  if constexpr (std::endian::native == std::endian::big) x = __builtin_bswap64(x);
  return x;
}

uint64_t read_tail(const unsigned char* p, size_t n) noexcept {
  uint64_t x = 0;
  for (size_t i = 0; i < n; ++i) x |= static_cast<uint64_t>(p[i]) << (8 * i);
  return x;
}

}  // namespace

uint64_t hash64(const void* data, size_t bytes, uint64_t seed) noexcept {
  const auto* p = static_cast<const unsigned char*>(data);
  size_t left = bytes;
  uint64_t a = seed ^ kMul0, b = a, c = a, d = a;
  // Four independent chains, so that the checksum of a snapshot runs at memory speed.
  for (; left >= 64; left -= 64, p += 64) {
    a = fold(read64(p) ^ kMul0, read64(p + 8) ^ a);
    b = fold(read64(p + 16) ^ kMul1, read64(p + 24) ^ b);
    c = fold(read64(p + 32) ^ kMul2, read64(p + 40) ^ c);
    d = fold(read64(p + 48) ^ kMul3, read64(p + 56) ^ d);
  }
  a ^= (b + kMul1) ^ std::rotl(c, 21) ^ std::rotl(d, 42);
  for (; left >= 16; left -= 16, p += 16) a = fold(read64(p) ^ kMul1, read64(p + 8) ^ a);
  uint64_t low = 0, high = 0;
  if (left >= 8) {
    low = read64(p);
    high = read_tail(p + 8, left - 8);
  } else {
    low = read_tail(p, left);
  }
  return fold(kMul2 ^ bytes, fold(low ^ kMul3, high ^ a));
}

}  // namespace pointsman
