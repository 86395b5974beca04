// The table of scan kernels.
#include "kernels.hpp"
#include "scan_matrix.cuh"
#include "scan_stream.cuh"

namespace pointsman::cuda {
namespace {

template <uint32_t Q>
struct Stream {
  static size_t memory(uint32_t dimensions) {
    return ((Q + 3) / 4 * 4 + size_t{coding_steps(POINTSMAN_BYTES, dimensions)} * Q) * sizeof(uint32_t);
  }
  static cudaError_t prepare(size_t most) {
    return cudaFuncSetAttribute(scan_stream<Q>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(most));
  }
  static cudaError_t run(const Scan& scan, uint32_t first, uint32_t end, cudaStream_t stream) {
    const uint32_t groups = (scan.query_count + Q - 1) / Q;
    return launch(scan_stream<Q>, dim3((end - first) * groups), kStreamThreads, memory(scan.dimensions),
                  stream, scan, first, groups);
  }
};

template <uint32_t N, uint32_t Halves>
struct Matrix {
  static constexpr uint32_t kQueries = kFragmentQueries * N * Halves;
  static size_t memory(uint32_t dimensions) {
    return kQueries * sizeof(int) + size_t{N} * Halves * chunks_of(dimensions) * kWarp * sizeof(Words);
  }
  static cudaError_t prepare(size_t most) {
    return cudaFuncSetAttribute(scan_matrix<N, Halves>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(most));
  }
  static cudaError_t run(const Scan& scan, uint32_t first, uint32_t end, cudaStream_t stream) {
    const uint32_t groups = (scan.query_count + kQueries - 1) / kQueries;
    // Neighbours share the unit, which the second-level cache then holds.
    return launch(scan_matrix<N, Halves>, dim3((end - first) * groups), kMatrixWarps * kWarp,
                  memory(scan.dimensions), stream, scan, first, groups);
  }
};

template <uint32_t Q>
constexpr ScanKernel stream_of(const char* name) {
  return {name, Q, Stream<Q>::memory, Stream<Q>::prepare, Stream<Q>::run};
}
template <uint32_t N, uint32_t Halves>
constexpr ScanKernel matrix_of(const char* name) {
  return {name, Matrix<N, Halves>::kQueries, Matrix<N, Halves>::memory, Matrix<N, Halves>::prepare,
          Matrix<N, Halves>::run};
}

}  // namespace

const ScanKernel kScanKernels[] = {
    stream_of<1>("stream1"),     stream_of<2>("stream2"),      stream_of<4>("stream4"),
    matrix_of<1, 1>("matrix8"),  matrix_of<2, 1>("matrix16"),  matrix_of<4, 1>("matrix32"),
    matrix_of<8, 1>("matrix64"), matrix_of<8, 2>("matrix128"),
};
const uint32_t kScanKernelCount = sizeof kScanKernels / sizeof kScanKernels[0];

}  // namespace pointsman::cuda
