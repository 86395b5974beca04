// Kernels for AVX-512 (F, BW, DQ, VL) without VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "avx512_body.inc"

}  // namespace

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {"avx512", kLanes, kVectors, scan, dots, exact, 0, 0, nullptr};

}  // namespace pointsman
#endif
