// A device that computes other scores than the definition is not used.
#pragma once

#include "cuda/engine.hpp"

namespace pointsman::cuda {

// Searches a few thousand made-up rows with each scan kernel and compares ids and bits with the definition,
// worked out on the host. Throws BACKEND_UNAVAILABLE at the first difference.
void check_itself(Engine& engine);

}  // namespace pointsman::cuda
