// Kernels for NEON (Advanced SIMD, in every arm64 processor).
#if defined(__aarch64__)
#include <arm_neon.h>

#include "pointsman/kernels.hpp"

namespace pointsman {
namespace {

#include "neon_body.inc"

}  // namespace

extern const Kernels kNeonKernels;
const Kernels kNeonKernels = {"neon", kLanes, kVectors, scan, dots, exact, code_row, {}};

}  // namespace pointsman
#endif
