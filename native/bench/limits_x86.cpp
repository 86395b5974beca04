// Arithmetic and reading on x86-64, in assembly: a compiler would hoist, spill or drop what is to be
// measured.
#if defined(__x86_64__)
#include <cstddef>

#include "limits.hpp"

namespace pointsman::bench {
namespace {

// One step of chain N on registers P ("xmm", "ymm", "zmm"): 15 and 14 are factors, 12 and 13 are scratch.
#define FMA(P, N) "vfmadd231ps %%" P "15, %%" P "14, %%" P #N "\n"
#define BF16(P, N) "vdpbf16ps %%" P "15, %%" P "14, %%" P #N "\n"
#define VNNI(P, N) "vpdpbusd %%" P "15, %%" P "14, %%" P #N "\n"
#define SSE(P, N)          \
  "movaps %%" P "15, %%" P \
  "12\n"                   \
  "mulps %%" P "14, %%" P  \
  "12\n"                   \
  "addps %%" P "12, %%" P #N "\n"
// 8-bit products without vpdpbusd: pairs are summed to 16 bits, pairs of those to 32.
#define TRIPLE(P, N)                      \
  "vpmaddubsw %%" P "15, %%" P "14, %%" P \
  "12\n"                                  \
  "vpmaddwd %%" P "13, %%" P "12, %%" P   \
  "12\n"                                  \
  "vpaddd %%" P "12, %%" P #N ", %%" P #N "\n"
// The same, summed in the 16 bits, which a kernel can do for a few steps only.
#define DOUBLE(P, N)                      \
  "vpmaddubsw %%" P "15, %%" P "14, %%" P \
  "12\n"                                  \
  "vpaddw %%" P "12, %%" P #N ", %%" P #N "\n"

// Twelve chains cover the latency of any of these on any processor since 2013.
#define TWELVE(STEP, P) \
  STEP(P, 0)            \
  STEP(P, 1)            \
  STEP(P, 2)            \
  STEP(P, 3)            \
  STEP(P, 4) STEP(P, 5) STEP(P, 6) STEP(P, 7) STEP(P, 8) STEP(P, 9) STEP(P, 10) STEP(P, 11)
#define CLEAR(P, N) "xorps %%" P #N ", %%" P #N "\n"

#define CLOBBERS                                                                                           \
  "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define LOOP(NAME, BEFORE, BODY, AFTER)                                                    \
  void NAME(long rounds) {                                                                 \
    asm volatile(BEFORE "1:\n" BODY "dec %0\njnz 1b\n" AFTER : "+r"(rounds) : : CLOBBERS); \
  }
#define AVX_LOOP(NAME, STEP, P) LOOP(NAME, "vzeroall\n", TWELVE(STEP, P), "vzeroupper\n")

LOOP(sse_float32, TWELVE(CLEAR, "xmm") CLEAR("xmm", 14) CLEAR("xmm", 15), TWELVE(SSE, "xmm"), "")
AVX_LOOP(avx2_float32, FMA, "ymm")
AVX_LOOP(avx2_int8, TRIPLE, "ymm")
AVX_LOOP(avx2_int8_upper, DOUBLE, "ymm")
AVX_LOOP(avx512_float32, FMA, "zmm")
AVX_LOOP(avx512_bf16, BF16, "zmm")
AVX_LOOP(avx512_int8, TRIPLE, "zmm")
AVX_LOOP(avx512_int8_upper, DOUBLE, "zmm")
AVX_LOOP(avx512_vnni, VNNI, "zmm")

// 256 bytes a turn: loads that depend on nothing; ahead: lines fetched 2 KB before their use.
#define AHEAD "prefetcht0 2048(%0)\nprefetcht0 2112(%0)\nprefetcht0 2176(%0)\nprefetcht0 2240(%0)\n"
#define READ(NAME, LOADS)                                                                                   \
  void NAME(const char* p, size_t bytes, bool prefetch) {                                                   \
    const char* end = p + bytes;                                                                            \
    if (prefetch) {                                                                                         \
      asm volatile("1:\n" AHEAD LOADS "add $256, %0\ncmp %1, %0\njb 1b\n" : "+r"(p) : "r"(end) : CLOBBERS); \
    } else {                                                                                                \
      asm volatile("1:\n" LOADS "add $256, %0\ncmp %1, %0\njb 1b\n" : "+r"(p) : "r"(end) : CLOBBERS);       \
    }                                                                                                       \
  }
#define SSE_LOAD(AT, N) "movups " #AT "(%0), %%xmm" #N "\n"
#define YMM_LOAD(AT, N) "vmovdqu " #AT "(%0), %%ymm" #N "\n"
#define ZMM_LOAD(AT, N) "vmovdqu64 " #AT "(%0), %%zmm" #N "\n"
READ(sse_read, SSE_LOAD(0, 0) SSE_LOAD(16, 1) SSE_LOAD(32, 2) SSE_LOAD(48, 3) SSE_LOAD(64, 4) SSE_LOAD(80, 5)
                   SSE_LOAD(96, 6) SSE_LOAD(112, 7) SSE_LOAD(128, 0) SSE_LOAD(144, 1) SSE_LOAD(160, 2)
                       SSE_LOAD(176, 3) SSE_LOAD(192, 4) SSE_LOAD(208, 5) SSE_LOAD(224, 6) SSE_LOAD(240, 7))
READ(avx2_read, YMM_LOAD(0, 0) YMM_LOAD(32, 1) YMM_LOAD(64, 2) YMM_LOAD(96, 3) YMM_LOAD(128, 4)
                    YMM_LOAD(160, 5) YMM_LOAD(192, 6) YMM_LOAD(224, 7))
READ(avx512_read, ZMM_LOAD(0, 0) ZMM_LOAD(64, 1) ZMM_LOAD(128, 2) ZMM_LOAD(192, 3))

constexpr double kChains = 12;
constexpr Loop kSseFloat32{"mulps + addps", kChains * 8, sse_float32};
constexpr Loop kAvx2Float32{"vfmadd231ps ymm", kChains * 16, avx2_float32};
constexpr Loop kAvx2Int8{"vpmaddubsw + vpmaddwd + vpaddd ymm", kChains * 64, avx2_int8};
constexpr Loop kAvx2Int8Upper{"vpmaddubsw + vpaddw ymm", kChains * 64, avx2_int8_upper};
constexpr Loop kAvx512Float32{"vfmadd231ps zmm", kChains * 32, avx512_float32};
constexpr Loop kAvx512Bf16{"vdpbf16ps zmm", kChains * 64, avx512_bf16};
constexpr Loop kAvx512Int8{"vpmaddubsw + vpmaddwd + vpaddd zmm", kChains * 128, avx512_int8};
constexpr Loop kAvx512Int8Upper{"vpmaddubsw + vpaddw zmm", kChains * 128, avx512_int8_upper};
constexpr Loop kAvx512Vnni{"vpdpbusd zmm", kChains * 128, avx512_vnni};

}  // namespace

std::span<const Arithmetic> arithmetics() {
  __builtin_cpu_init();
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  static const Loop* const bf16 = avx512 && __builtin_cpu_supports("avx512bf16") ? &kAvx512Bf16 : nullptr;
  static const Arithmetic all[] = {
      {"avx512vnni", vnni, &kAvx512Float32, bf16, &kAvx512Vnni, nullptr, avx512_read},
      {"avx512", avx512, &kAvx512Float32, bf16, &kAvx512Int8, &kAvx512Int8Upper, avx512_read},
      {"avx2", avx2, &kAvx2Float32, nullptr, &kAvx2Int8, &kAvx2Int8Upper, avx2_read},
      {"scalar", true, &kSseFloat32, nullptr, nullptr, nullptr, sse_read}};
  return all;
}

}  // namespace pointsman::bench
#endif
