// Arithmetic and reading on arm64, in assembly: a compiler would hoist, spill or drop what is to be measured.
#if defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <cstddef>

#include "limits.hpp"

namespace pointsman::bench {
namespace {

// One step of chain N: v30 and v31 are factors, v28 and v29 are scratch.
#define FMLA(N) "fmla v" #N ".4s, v30.4s, v31.4s\n"
#define SDOT(N) "sdot v" #N ".4s, v30.16b, v31.16b\n"
#define BFDOT(N) "bfdot v" #N ".4s, v30.8h, v31.8h\n"
#define SMMLA(N) "smmla v" #N ".4s, v30.16b, v31.16b\n"
// 8-bit products without sdot: to 16 bits, then pairs of those to 32.
#define WIDENING(N)                   \
  "smull v28.8h, v30.8b, v31.8b\n"    \
  "smlal2 v28.8h, v30.16b, v31.16b\n" \
  "sadalp v" #N ".4s, v28.8h\n"

#define SIXTEEN(STEP) \
  STEP(0)             \
  STEP(1)             \
  STEP(2)             \
  STEP(3)             \
  STEP(4) STEP(5) STEP(6) STEP(7) STEP(16) STEP(17) STEP(18) STEP(19) STEP(20) STEP(21) STEP(22) STEP(23)
#define CLEAR(N) "movi v" #N ".4s, #0\n"
#define CLOBBERS                                                                                            \
  "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", \
      "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"
#define LOOP(NAME, EXTENSION, STEP)                                              \
  void NAME(long rounds) {                                                       \
    asm volatile(EXTENSION SIXTEEN(CLEAR) CLEAR(30)                              \
                     CLEAR(31) "1:\n" SIXTEEN(STEP) "subs %0, %0, #1\nb.ne 1b\n" \
                 : "+r"(rounds)                                                  \
                 :                                                               \
                 : CLOBBERS);                                                    \
  }

LOOP(neon_float32, "", FMLA)
LOOP(neon_int8, "", WIDENING)
LOOP(neon_sdot, ".arch armv8.2-a+dotprod\n", SDOT)
LOOP(neon_bfdot, ".arch armv8.2-a+bf16\n", BFDOT)
LOOP(neon_smmla, ".arch armv8.2-a+i8mm\n", SMMLA)

#define LOADS                                                                   \
  "ldp q0, q1, [%0]\nldp q2, q3, [%0, #32]\nldp q4, q5, [%0, #64]\n"            \
  "ldp q6, q7, [%0, #96]\nldp q16, q17, [%0, #128]\nldp q18, q19, [%0, #160]\n" \
  "ldp q20, q21, [%0, #192]\nldp q22, q23, [%0, #224]\n"
#define AHEAD                                                  \
  "prfm pldl1keep, [%0, #2048]\nprfm pldl1keep, [%0, #2112]\n" \
  "prfm pldl1keep, [%0, #2176]\nprfm pldl1keep, [%0, #2240]\n"
void neon_read(const char* p, size_t bytes, bool prefetch) {
  const char* end = p + bytes;
  if (prefetch) {
    asm volatile("1:\n" AHEAD LOADS "add %0, %0, #256\ncmp %0, %1\nb.lo 1b\n"
                 : "+r"(p)
                 : "r"(end)
                 : CLOBBERS);
  } else {
    asm volatile("1:\n" LOADS "add %0, %0, #256\ncmp %0, %1\nb.lo 1b\n" : "+r"(p) : "r"(end) : CLOBBERS);
  }
}

constexpr double kChains = 16;
constexpr Loop kFloat32{"fmla", kChains * 8, neon_float32};
constexpr Loop kWidening{"smull + smlal2 + sadalp", kChains * 32, neon_int8};
constexpr Loop kSdot{"sdot", kChains * 32, neon_sdot};
constexpr Loop kSmmla{"smmla", kChains * 64, neon_smmla};
constexpr Loop kBfdot{"bfdot", kChains * 16, neon_bfdot};

// Bits of getauxval(AT_HWCAP) and AT_HWCAP2.
constexpr unsigned long kDotProduct = 1ul << 20, kI8mm = 1ul << 13, kBf16 = 1ul << 14;

}  // namespace

std::span<const Arithmetic> arithmetics() {
#if defined(__linux__)
  static const bool dot = (getauxval(AT_HWCAP) & kDotProduct) != 0;
  static const unsigned long more = getauxval(AT_HWCAP2);
#else
  static const bool dot = true;  // every Apple processor of this kind; what it has more is not asked for
  static const unsigned long more = 0;
#endif
  static const Loop* const bf16 = (more & kBf16) != 0 ? &kBfdot : nullptr;
  static const Loop* const upper = (more & kI8mm) != 0 ? &kSmmla : nullptr;
  static const Arithmetic all[] = {{"neondot", dot, &kFloat32, bf16, &kSdot, upper, neon_read},
                                   {"neon", true, &kFloat32, bf16, &kWidening, nullptr, neon_read},
                                   {"scalar", true, &kFloat32, nullptr, nullptr, nullptr, neon_read}};
  return all;
}

}  // namespace pointsman::bench
#endif
