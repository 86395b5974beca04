#include "pointsman/hash.hpp"

#include <cstring>

namespace pointsman {
namespace {

using namespace hash_parts;

template <typename T>
uint64_t read(const unsigned char* p) noexcept {
  T x;
  std::memcpy(&x, p, sizeof x);
  if constexpr (std::endian::native == std::endian::big)
    x = sizeof x == 8 ? __builtin_bswap64(x) : __builtin_bswap32(x);
  return x;
}

uint64_t read64(const unsigned char* p) noexcept { return read<uint64_t>(p); }

// n < 8 bytes. Reads that overlap put the same bits into the same places.
uint64_t read_tail(const unsigned char* p, size_t n) noexcept {
  if (n >= 4) return read<uint32_t>(p) | read<uint32_t>(p + n - 4) << (8 * (n - 4));
  if (n == 0) return 0;
  return uint64_t{p[0]} | uint64_t{p[n / 2]} << (8 * (n / 2)) | uint64_t{p[n - 1]} << (8 * (n - 1));
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
  a = join(a, b, c, d);
  for (; left >= 16; left -= 16, p += 16) a = fold(read64(p) ^ kMul1, read64(p + 8) ^ a);
  if (left < 8) return finish(a, read_tail(p, left), 0, bytes);
  return finish(a, read64(p), read_tail(p + 8, left - 8), bytes);
}

}  // namespace pointsman
