// The registry: the only code that knows which backends exist.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pointsman/backend.hpp"

namespace pointsman {

struct BackendState {
  const pointsman_backend* table = nullptr;  // null: not available
  std::string name;
  std::string reason;   // why it is, or is not, available
  bool insist = false;  // what it fails to answer is an error, not the CPU's to answer
};

// Where the CUDA plugin is if none lies beside the addon: in the package `name`, whose library is `path`;
// empty where it is not installed. Heard until plugins are looked for.
void set_plugin_package(std::string name, std::string path);

// Each backend; plugins are looked for once, at the first call.
const std::vector<BackendState>& backends();

// The backend for `wanted` ("auto", "cpu", "cuda") and why it was taken. Throws BACKEND_UNAVAILABLE.
BackendState choose_backend(const std::string& wanted, uint32_t dimensions);

// The CPU's, which is always there and has no limits of its own.
const pointsman_backend& cpu_backend();

void forget_block(uint64_t block_id) noexcept;

}  // namespace pointsman
