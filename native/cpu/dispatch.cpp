// Which kernels run: the best that the processor has, or the one that POINTSMAN_ISA names.
#include <cstdlib>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#include <string_view>

#include "pointsman/error.hpp"
#include "pointsman/isa.hpp"

namespace pointsman {

extern const Kernels kScalarKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotKernels;
#endif

std::span<const IsaChoice> available_kernels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const IsaChoice choices[] = {
      {&kAvx512VnniKernels, avx512 && __builtin_cpu_supports("avx512vnni")},
      {&kAvx512Kernels, avx512},
      {&kAvx2Kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
      {&kScalarKernels, true}};
#elif defined(__aarch64__)
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  static const IsaChoice choices[] = {{&kNeonDotKernels, (getauxval(AT_HWCAP) & kDotProduct) != 0},
                                      {&kNeonKernels, true},
                                      {&kScalarKernels, true}};
#else
  static const IsaChoice choices[] = {{&kScalarKernels, true}};
#endif
  return choices;
}

namespace {

const char* forced_isa() {
  const char* name = std::getenv("POINTSMAN_ISA");
  return name != nullptr && *name != '\0' ? name : nullptr;
}

}  // namespace

const Kernels& active_kernels() {
  const char* forced = forced_isa();
  for (const IsaChoice& choice : available_kernels()) {
    if (choice.supported && (forced == nullptr || std::string_view(forced) == choice.kernels->isa)) {
      return *choice.kernels;
    }
  }
  throw Error(Code::UNKNOWN_ISA,
              std::string("POINTSMAN_ISA=") + forced + " cannot run here: this processor or build lacks it");
}

std::string active_kernels_reason() {
  return forced_isa() ? "forced by POINTSMAN_ISA" : "the best that this processor has";
}

}  // namespace pointsman
