// Which solving kernels go with the engine's.
#include <string_view>

#include "pointsman/isa.hpp"
#include "pointsman/solve.hpp"

namespace pointsman {

extern const SolveKernels kScalarSolve;
#if defined(__x86_64__)
extern const SolveKernels kAvx2Solve;
#elif defined(__aarch64__)
extern const SolveKernels kNeonSolve;
#endif

const SolveKernels& solve_kernels() {
  const bool scalar = std::string_view(active_kernels().isa) == "scalar";
#if defined(__x86_64__)
  return scalar ? kScalarSolve : kAvx2Solve;
#elif defined(__aarch64__)
  return scalar ? kScalarSolve : kNeonSolve;
#else
  static_cast<void>(scalar);
  return kScalarSolve;
#endif
}

}  // namespace pointsman
