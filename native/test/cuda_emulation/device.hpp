// Between the emulated runtime (runtime.cpp) and its threads (fibers.cpp).
#pragma once

#include "emulation.hpp"

namespace emulation {

uint32_t draw(uint32_t below);  // from the seed
void poison(void* data, size_t bytes);
void run_kernel(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body);

}  // namespace emulation
