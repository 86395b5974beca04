// Kernels for NEON with the dot product extension (Armv8.2): float32 as without, and codes by sdot, a
// register tile of 16 rows × 5 queries (20 sums of 32 registers). sdot is signed: rows have their top bit
// flipped as they are loaded.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "neon_body.inc"

constexpr int kCodeLanes = 4;
constexpr int kCodeQueries = 5;
constexpr int code_rows(int) { return 4; }

using IVec = int32x4_t;

inline IVec izero() { return vdupq_n_s32(0); }
inline IVec iload(const uint8_t* p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
inline void istore(int32_t* p, IVec a) { vst1q_s32(p, a); }
inline IVec ibroadcast(int32_t x) { return vdupq_n_s32(x); }
inline uint32_t at_least_int(IVec a, IVec b) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_s32(a, b), bit));
}
template <int R>
inline bool any_at_least(const IVec* a, IVec b) {
  IVec largest = a[0];
  repeat<R - 1>(POINTSMAN_UNROLLED(r) { largest = vmaxq_s32(largest, a[r + 1]); });
  return vmaxvq_u32(vcgeq_s32(largest, b)) != 0;
}
inline IVec dot4(IVec acc, IVec u, IVec s) {
  return vdotq_s32(acc, vreinterpretq_s8_s32(u), vreinterpretq_s8_s32(s));
}
// sdot is signed, so nothing is left to take off.
constexpr int kByteZero = 0;
inline IVec byte_rows(IVec x) {
  return vreinterpretq_s32_u8(veorq_u8(vreinterpretq_u8_s32(x), vdupq_n_u8(0x80)));
}
inline IVec low_nibbles(IVec x) {
  return vreinterpretq_s32_u8(vandq_u8(vreinterpretq_u8_s32(x), vdupq_n_u8(0x0F)));
}
inline IVec high_nibbles(IVec x) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4)); }

#include "code_body.inc"
#include "dot4_body.inc"

}  // namespace

extern const Kernels kNeonDotKernels;
const Kernels kNeonDotKernels = {
    "neon-dotprod",
    kLanes,
    kVectors,
    scan,
    dots,
    exact,
    code_row,
    {code_kernel<Dots<ByteRows>>(), code_kernel<Dots<NibbleRows>>(), code_kernel<DotsPrefix>()}};

}  // namespace pointsman
#endif
