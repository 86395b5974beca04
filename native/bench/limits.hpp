// What the two parts of pointsman_limits share: arithmetic is measured in one file for each processor family,
// memory and the rest in limits.cpp.
#pragma once

#include <span>

namespace pointsman::bench {

// A loop of `rounds` rounds over independent chains of one instruction, or of the few that a kernel needs for
// one product; it touches registers only. An operation is a multiplication or an addition: a multiply-add is
// two.
struct Loop {
  const char* instruction;
  double operations;  // of one round
  void (*run)(long rounds);
};

// The arithmetic of one of the engine's instruction sets; a kind that it lacks is nullptr.
struct Arithmetic {
  const char* isa;  // as POINTSMAN_ISA names it
  bool supported;   // by this processor
  const Loop* float32;
  const Loop* bf16;
  const Loop* int8;  // products of 8 bits, summed in 32 bits, as a kernel must do them
  const Loop*
      int8_upper;  // the same without what sums in 32 bits, where that is apart: no kernel can be faster
  void (*read)(const char* memory, size_t bytes, bool prefetch);  // bytes: a multiple of 4,096
};

// Best first, as the engine chooses.
std::span<const Arithmetic> arithmetics();

}  // namespace pointsman::bench
