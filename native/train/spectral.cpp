#include "train/spectral.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "pointsman/hash.hpp"
#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"

namespace pointsman::train {
namespace {

constexpr size_t kRowBlock = 128,
                 kColumnBlock = 32;  // fixed, so that sums have one order on every thread count
constexpr size_t kOversample = 16;
constexpr int kRounds = 3;

// The transpose of sparse rows: for each column its entries by rising row.
struct Columns {
  explicit Columns(const SparseRows& rows)
      : starts(size_t{rows.width} + 1, 0), row(rows.columns.size()), value(row.size()) {
    for (const uint32_t c : rows.columns) ++starts[c + 1];
    for (size_t c = 0; c < rows.width; ++c) starts[c + 1] += starts[c];
    std::vector<uint32_t> next(starts.begin(), starts.end() - 1);
    for (size_t i = 0; i < rows.count(); ++i) {
      for (uint32_t e = rows.starts[i]; e < rows.starts[i + 1]; ++e) {
        const uint32_t to = next[rows.columns[e]]++;
        row[to] = static_cast<uint32_t>(i);
        value[to] = rows.values[e];
      }
    }
  }
  std::vector<uint32_t> starts, row;
  std::vector<float> value;
};

// out (lines × p) = the sparse lines times m (· × p), kColumnBlock columns of m at a time.
void multiply(std::span<const uint32_t> starts, std::span<const uint32_t> index, std::span<const float> value,
              const float* m, size_t p, float* out, unsigned threads, const Cancel& cancel) {
  const size_t lines = starts.size() - 1;
  ThreadPool::shared().parallel_for((lines + kRowBlock - 1) / kRowBlock, threads,
                                    [&](size_t block, unsigned) {
                                      cancel.check();
                                      const size_t end = std::min(lines, (block + 1) * kRowBlock);
                                      for (size_t i = block * kRowBlock; i < end; ++i) {
                                        float* to = out + i * p;
                                        std::fill(to, to + p, 0.0f);
                                        for (uint32_t e = starts[i]; e < starts[i + 1]; ++e) {
                                          const float v = value[e];
                                          const float* from = m + size_t{index[e]} * p;
                                          for (size_t j = 0; j < p; ++j) to[j] += v * from[j];
                                        }
                                      }
                                    });
}

// K A for A of n × p, with a workspace of width × kColumnBlock.
class Kernel {
 public:
  Kernel(const SparseRows& rows, unsigned threads, const Cancel& cancel)
      : rows_(rows), columns_(rows), threads_(threads), cancel_(cancel) {}

  std::vector<float> times(const std::vector<float>& a, size_t p) {
    const size_t n = rows_.count();
    std::vector<float> out(n * p), part(n * kColumnBlock), middle(size_t{rows_.width} * kColumnBlock);
    for (size_t from = 0; from < p; from += kColumnBlock) {
      const size_t w = std::min(kColumnBlock, p - from);
      for (size_t i = 0; i < n; ++i) std::copy_n(&a[i * p + from], w, &part[i * w]);
      multiply(columns_.starts, columns_.row, columns_.value, part.data(), w, middle.data(), threads_,
               cancel_);
      multiply(rows_.starts, rows_.columns, rows_.values, middle.data(), w, part.data(), threads_, cancel_);
      for (size_t i = 0; i < n; ++i) std::copy_n(&part[i * w], w, &out[i * p + from]);
    }
    return out;
  }

 private:
  const SparseRows& rows_;
  Columns columns_;
  unsigned threads_;
  const Cancel& cancel_;
};

// Aᵀ B for n × p matrices whose product is symmetric: p × p, computed below the diagonal and mirrored.
std::vector<double> inner(const std::vector<float>& a, const std::vector<float>& b, size_t n, size_t p,
                          unsigned threads, const Cancel& cancel) {
  std::vector<double> out(p * p, 0.0);
  // Each task owns some rows of the result and runs over all n in order.
  constexpr size_t kOwn = 8;
  ThreadPool::shared().parallel_for((p + kOwn - 1) / kOwn, threads, [&](size_t task, unsigned) {
    cancel.check();
    const size_t end = std::min(p, (task + 1) * kOwn);
    for (size_t i = 0; i < n; ++i) {
      const float* right = &b[i * p];
      for (size_t r = task * kOwn; r < end; ++r) {
        const double left = a[i * p + r];
        double* to = &out[r * p];
        for (size_t c = 0; c < end; ++c) to[c] += left * right[c];
      }
    }
  });
  for (size_t r = 0; r < p; ++r) {
    for (size_t c = r + 1; c < p; ++c) out[r * p + c] = out[c * p + r];
  }
  return out;
}

// A M for A of n × p, M of p × q.
std::vector<float> combine(std::span<const float> a, size_t n, size_t p, std::span<const double> m, size_t q,
                           unsigned threads, const Cancel& cancel) {
  std::vector<float> out(n * q);
  ThreadPool::shared().parallel_for((n + kRowBlock - 1) / kRowBlock, threads, [&](size_t block, unsigned) {
    cancel.check();
    std::vector<double> sum(q);
    const size_t end = std::min(n, (block + 1) * kRowBlock);
    for (size_t i = block * kRowBlock; i < end; ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (size_t k = 0; k < p; ++k) {
        const double left = a[i * p + k];
        for (size_t j = 0; j < q; ++j) sum[j] += left * m[k * q + j];
      }
      for (size_t j = 0; j < q; ++j) out[i * q + j] = static_cast<float>(sum[j]);
    }
  });
  return out;
}

// Orthonormal columns that span those of `a`; p shrinks to their number.
// One pass leaves errors of about float32's roundings times the spread of the columns, a second one none.
void orthonormalise(std::vector<float>& a, size_t n, size_t& p, int passes, unsigned threads,
                    const Cancel& cancel) {
  for (int pass = 0; pass < passes; ++pass) {
    const Eigen gram = symmetric_eigen(inner(a, a, n, p, threads, cancel), p);
    size_t kept = 0;
    while (kept < p && gram.values[kept] > 1e-10 * std::max(gram.values[0], 1e-30)) ++kept;
    std::vector<double> m(p * kept);
    for (size_t i = 0; i < p; ++i) {
      for (size_t j = 0; j < kept; ++j) m[i * kept + j] = gram.vectors[i * p + j] / std::sqrt(gram.values[j]);
    }
    a = combine(a, n, p, m, kept, threads, cancel);
    p = kept;
  }
}

}  // namespace

void SparseRows::check() const {
  if (starts.empty() || starts.front() != 0 || starts.back() != columns.size() ||
      columns.size() != values.size()) {
    throw Error(Code::WRONG_SHAPE, "the parts of the sparse rows do not fit");
  }
  if (!std::is_sorted(starts.begin(), starts.end())) throw Error(Code::WRONG_SHAPE, "starts must rise");
  for (const uint32_t c : columns) {
    if (c >= width) throw Error(Code::WRONG_SHAPE, "a column is out of range");
  }
  for (const float v : values) {
    if (!std::isfinite(v)) throw Error(Code::NOT_FINITE, "a feature is not finite");
  }
}

Spectrum spectral_basis(const SparseRows& rows, size_t dimensions, uint64_t seed, unsigned threads,
                        const Cancel& cancel, const Progress& progress) {
  const size_t n = rows.count();
  size_t p = std::min(n, dimensions + kOversample);
  if (p == 0) return {};
  Kernel kernel(rows, threads, cancel);
  std::vector<float> a(n * p);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<float>(static_cast<double>(mix64(seed + mix64(i)) >> 11) * 0x1p-52 -
                              1.0);  // uniform in [-1, 1)
  }
  for (int round = 0; round < kRounds && p > 0; ++round) {
    a = kernel.times(a, p);
    orthonormalise(a, n, p, round + 1 == kRounds ? 2 : 1, threads, cancel);
    if (progress) progress(static_cast<uint64_t>(round) + 1, kRounds + 1);
  }
  if (p == 0) return {};
  const Eigen ritz = symmetric_eigen(inner(a, kernel.times(a, p), n, p, threads, cancel), p);
  Spectrum out;
  while (out.dimensions < std::min(p, dimensions) && ritz.values[out.dimensions] > 1e-6) ++out.dimensions;
  out.eigenvalues.assign(ritz.values.begin(),
                         ritz.values.begin() + static_cast<std::ptrdiff_t>(out.dimensions));
  std::vector<double> leading(p * out.dimensions);
  for (size_t i = 0; i < p; ++i) {
    for (size_t j = 0; j < out.dimensions; ++j) leading[i * out.dimensions + j] = ritz.vectors[i * p + j];
  }
  out.vectors = combine(a, n, p, leading, out.dimensions, threads, cancel);
  if (progress) progress(kRounds + 1, kRounds + 1);
  return out;
}

std::vector<float> fold_projection(const SparseRows& rows, std::span<const float> vectors, size_t q,
                                   std::span<const float> readout, size_t p, unsigned threads,
                                   const Cancel& cancel) {
  const size_t n = rows.count();
  if (vectors.size() != n * q) throw Error(Code::WRONG_SHAPE, "the vectors must be rows × q");
  if (readout.size() != q * p) throw Error(Code::WRONG_SHAPE, "the read-outs must be q × p");
  const std::vector<float> a =
      combine(vectors, n, q, std::vector<double>(readout.begin(), readout.end()), p, threads, cancel);
  const Columns columns(rows);
  std::vector<float> out(size_t{rows.width} * p);
  multiply(columns.starts, columns.row, columns.value, a.data(), p, out.data(), threads, cancel);
  return out;
}

}  // namespace pointsman::train
