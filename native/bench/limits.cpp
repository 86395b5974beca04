// What this machine can do at most, measured: bytes read from memory, float32 and bf16 multiply-adds, 8-bit
// products. Usage: pointsman_limits [threads]. Prints JSON; figures are of all threads together, the best of
// five runs, null where the processor lacks the instruction. An operation is a multiplication or an addition,
// so a multiply-add is two.
#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "pointsman/buffer.hpp"

namespace {

constexpr int kRuns = 5;
constexpr size_t kBytes = size_t{512} << 20;  // read by each thread: far more than any cache
constexpr long kRounds = 20'000'000;

// A sum that the compiler may not drop.
std::atomic<int64_t> sink{0};

#define TARGET512 __attribute__((target("avx512f,avx512bw,avx512vnni,avx512bf16")))

// Twelve independent chains cover the latency of any of these on any processor since 2013.
#define CHAINS(instruction)                                                                                \
  for (long i = 0; i < kRounds; ++i) {                                                                     \
    asm volatile(instruction                                                                               \
                 " %12, %12, %0\n" instruction " %12, %12, %1\n" instruction " %12, %12, %2\n" instruction \
                 " %12, %12, %3\n" instruction " %12, %12, %4\n" instruction " %12, %12, %5\n" instruction \
                 " %12, %12, %6\n" instruction " %12, %12, %7\n" instruction " %12, %12, %8\n" instruction \
                 " %12, %12, %9\n" instruction " %12, %12, %10\n" instruction " %12, %12, %11"             \
                 : "+v"(a[0]), "+v"(a[1]), "+v"(a[2]), "+v"(a[3]), "+v"(a[4]), "+v"(a[5]), "+v"(a[6]),     \
                   "+v"(a[7]), "+v"(a[8]), "+v"(a[9]), "+v"(a[10]), "+v"(a[11])                            \
                 : "v"(x));                                                                                \
  }

TARGET512 void fma512() {
  __m512 a[12] = {}, x = _mm512_setzero_ps();
  CHAINS("vfmadd231ps")
  sink += static_cast<int64_t>(_mm512_reduce_add_ps(a[0]));
}
TARGET512 void bf16512() {
  __m512 a[12] = {}, x = _mm512_setzero_ps();
  CHAINS("vdpbf16ps")
  sink += static_cast<int64_t>(_mm512_reduce_add_ps(a[0]));
}
TARGET512 void vnni512() {
  __m512i a[12] = {}, x = _mm512_setzero_si512();
  CHAINS("vpdpbusd")
  sink += _mm512_reduce_add_epi32(a[0]);
}
__attribute__((target("avx2,fma"))) void fma256() {
  __m256 a[12] = {}, x = _mm256_setzero_ps();
  CHAINS("vfmadd231ps")
  sink += static_cast<int64_t>(_mm256_cvtss_f32(a[0]));
}

TARGET512 void read512(const char* p) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < kBytes; i += 256) {
    sum = _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_loadu_si512(p + i), _mm512_loadu_si512(p + i + 64)));
    sum = _mm512_add_epi32(
        sum, _mm512_add_epi32(_mm512_loadu_si512(p + i + 128), _mm512_loadu_si512(p + i + 192)));
  }
  sink += _mm512_reduce_add_epi32(sum);
}
void read_plain(const char* p) {
  int64_t sum[4] = {};
  for (size_t i = 0; i < kBytes; i += 32) {
    for (size_t j = 0; j < 4; ++j) sum[j] += *reinterpret_cast<const int64_t*>(p + i + 8 * j);
  }
  sink += sum[0] + sum[1] + sum[2] + sum[3];
}

// Units of work per second, of all threads together.
template <typename Body>
double rate(unsigned threads, double units, const Body& body) {
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<std::thread> team;
    const auto start = std::chrono::steady_clock::now();
    for (unsigned t = 0; t < threads; ++t) team.emplace_back([&body, t] { body(t); });
    for (auto& thread : team) thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, units * threads / took.count());
  }
  return best;
}

void print(const char* name, double value, bool last = false) {
  if (value > 0) {
    std::printf("  \"%s\": %.4g%s\n", name, value, last ? "" : ",");
  } else {
    std::printf("  \"%s\": null%s\n", name, last ? "" : ",");
  }
}

}  // namespace

int main(int count, char** arguments) {
  const unsigned threads = count > 1 ? static_cast<unsigned>(std::max(1, std::atoi(arguments[1])))
                                     : std::max(1u, std::thread::hardware_concurrency());
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

  std::vector<pointsman::Buffer> memory;
  for (unsigned t = 0; t < threads; ++t) {
    memory.emplace_back(kBytes);
    std::fill_n(memory.back().as<char>(), kBytes, static_cast<char>(1));
  }
  const double fp32 = avx512 ? rate(threads, 12.0 * 32 * kRounds, [](unsigned) { fma512(); })
                      : avx2 ? rate(threads, 12.0 * 16 * kRounds, [](unsigned) { fma256(); })
                             : 0;
  std::printf("{\n  \"threads\": %u,\n", threads);
  print("readBytesPerSecond", rate(threads, kBytes, [&](unsigned t) {
          avx512 ? read512(memory[t].as<char>()) : read_plain(memory[t].as<char>());
        }));
  print("float32OperationsPerSecond", fp32);
  print("bf16OperationsPerSecond",
        bf16 ? rate(threads, 12.0 * 64 * kRounds, [](unsigned) { bf16512(); }) : 0);
  print("int8OperationsPerSecond",
        vnni ? rate(threads, 12.0 * 128 * kRounds, [](unsigned) { vnni512(); }) : 0, true);
  std::printf("}\n");
}
