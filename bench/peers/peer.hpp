// What a peer of the search benchmark offers: a search for the k rows of largest inner product with each
// query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

// Row-major float32 values that outlive the peer.
struct Matrix {
  const float* values;
  size_t rows;
  size_t dimensions;
};

class Peer {
 public:
  virtual ~Peer() = default;
  virtual std::string name() const = 0;
  virtual std::string version() const = 0;
  // Instruction set, threads and whatever else was chosen; ASCII without quotes or backslashes.
  virtual std::string setting() const = 0;
  virtual double bytes_per_row() const = 0;
  // ids: count × k, row-major, best first; −1 where fewer were found.
  virtual void search(const float* queries, size_t count, size_t k, int32_t* ids) = 0;
  // For approximate peers: lists visited, and candidates rescored for each result.
  virtual void tune(int /*nprobe*/, float /*k_factor*/) {
    throw std::runtime_error("it has nothing to tune");
  }
};

std::unique_ptr<Peer> make_openblas(const Matrix& rows, unsigned threads);
// blas_always: distance_compute_blas_threshold = 1.
std::unique_ptr<Peer> make_faiss_flat(const Matrix& rows, unsigned threads, bool blas_always);
// IVF,PQx4fs,RFlat.
std::unique_ptr<Peer> make_faiss_ivf(const Matrix& rows, unsigned threads);
