// The launches, as the host calls them: each asynchronous on a stream, each returning what the launch did.
#pragma once

#include <cuda_runtime.h>

#include "views.hpp"

namespace pointsman::cuda {

// Codes of `count` queries (count × stride, with their norms), into `queries` and `codes` (see Scan).
cudaError_t launch_encode(const float* vectors, const float* norms, uint32_t count, uint32_t dimensions,
                          uint32_t stride, CodedQuery* queries, Words* codes, cudaStream_t stream);

// Bits of the rows of each unit that are neither dead nor, with a filter, left out by it; counts[unit]: their
// number.
cudaError_t launch_eligible(const Unit* units, uint32_t count, const uint64_t* filter,
                            uint32_t filter_handles, uint64_t* eligible, uint32_t* counts,
                            cudaStream_t stream);

// Scans positions [first, end) of the list (or units of these numbers): units without codes exactly …
cudaError_t launch_tails(const Scan& scan, uint32_t first, uint32_t end, cudaStream_t stream);

// … and units with codes, by one of these.
struct ScanKernel {
  const char* name;
  uint32_t queries;  // of one block of threads: what it reads once
  // Shared memory of a block in bytes.
  size_t (*memory)(uint32_t dimensions);
  // To be called once a device, before the first launch.
  cudaError_t (*prepare)(size_t most_memory);
  cudaError_t (*launch)(const Scan& scan, uint32_t first, uint32_t end, cudaStream_t stream);
};

// The kernels, from the fewest queries to the most. The one place for others: a wgmma kernel fed by bulk
// copies would be one more entry, for compute capability 9.0 alone, once there is a machine to try it on.
extern const ScanKernel kScanKernels[];
extern const uint32_t kScanKernelCount;

// Cuts every query's candidates down, raises its threshold, writes results where they are asked for.
cudaError_t launch_select(const Selection& selection, cudaStream_t stream);

// What a kernel launch takes, in the form that nvcc and a C++ compiler both understand.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, uint32_t threads, size_t shared,
                   cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

}  // namespace pointsman::cuda
