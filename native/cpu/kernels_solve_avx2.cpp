// Solving for AVX2 + FMA. The AVX-512 processors use it, too: these loops take a share of the time that wider
// vectors hardly change, and on Zen the rate of multiply-adds is the same.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pointsman/solve.hpp"

namespace pointsman {
namespace {

using Vec = __m256;

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec broadcast(float x) { return _mm256_set1_ps(x); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec acc) { return _mm256_fmadd_ps(a, b, acc); }
inline Vec fnma(Vec a, Vec b, Vec acc) { return _mm256_fnmadd_ps(a, b, acc); }
inline float fma1(float a, float b, float acc) { return __builtin_fmaf(a, b, acc); }

#include "solve_body.inc"

}  // namespace

extern const SolveKernels kAvx2Solve;
const SolveKernels kAvx2Solve = {"avx2", gather, add_outer, factor, solve, add_rows};

}  // namespace pointsman
#endif
