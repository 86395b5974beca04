// Which kernels this process runs: chosen once by CPUID, or forced by POINTSMAN_ISA.
#pragma once

#include <span>
#include <string>

#include "pointsman/kernels.hpp"

namespace pointsman {

// Each instruction set that this build has, best first, with whether the processor has it.
struct IsaChoice {
  const Kernels* kernels;
  bool supported;
};
std::span<const IsaChoice> available_kernels();

// The kernels in use and why. Throws UNKNOWN_ISA when POINTSMAN_ISA names one that cannot run.
const Kernels& active_kernels();
std::string active_kernels_reason();

}  // namespace pointsman
