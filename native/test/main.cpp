#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "pointsman/isa.hpp"

// POINTSMAN_TEST_ISA names what must be tested: a run that silently leaves it out is no test of it.
TEST_CASE("the kernels that are tested here") {
  const char* wanted = std::getenv("POINTSMAN_TEST_ISA");
  std::string names;
  bool found = wanted == nullptr;
  for (const pointsman::IsaChoice& choice : pointsman::available_kernels()) {
    if (!choice.supported) continue;
    names += std::string(" ") + choice.kernels->isa;
    found = found || std::string(choice.kernels->isa) == wanted;
  }
  MESSAGE("kernels:" << names);
  CHECK_MESSAGE(found, "POINTSMAN_TEST_ISA cannot run here");
}
