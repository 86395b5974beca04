// Factorisation for implicit feedback by alternating least squares (Hu, Koren & Volinsky, Collaborative
// filtering for implicit feedback datasets, ICDM 2008; with the scaling of Rendle, Krichene, Zhang & Koren,
// Revisiting the performance of iALS on item recommendation benchmarks, RecSys 2022). With S the
// interactions, w their weights:
//
//     minimise  Σ_{(u,i)∈S} w_ui (⟨x_u, y_i⟩ − 1)²  +  α Σ_{u,i} ⟨x_u, y_i⟩²
//             + λ Σ_u (Σ_i w_ui + α·items)^ν ‖x_u‖²  +  λ Σ_i (Σ_u w_ui + α·users)^ν ‖y_i‖²
//
// A sweep solves all users exactly, given the items, then all items, given the users: for each the normal
// equations
//
//     (α YᵀY + Σ w y yᵀ + λ(…)^ν I) x = Σ w y
//
// in float32 by Cholesky, in float64 where float32 is too short. Each line's sums have one order: the same
// bits on every thread count and instruction set. The items' vectors are the whole state of a run; the users'
// follow from them.
//
// A sweep costs |S|·k² multiply-adds for the sums (both sides; half of each symmetric matrix) and (users +
// items)·k³/6 for the factors. Memory: the two tables of vectors; interactions are read in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pointsman/buffer.hpp"
#include "pointsman/task.hpp"

namespace pointsman::train {

inline constexpr uint32_t kMaxFactors = 1024;

// One side of the interactions: line i (a user, or an item) has the entries starts[i] … starts[i + 1].
class Lines {
 public:
  struct Entries {
    const uint32_t* ids;   // lines of the other side
    const float* weights;  // finite, ≥ 0; null: all 1
  };
  struct Scratch {
    std::vector<uint32_t> ids;
    std::vector<float> weights;
  };

  virtual ~Lines() = default;
  size_t count() const { return starts_.size() - 1; }
  uint64_t entries() const { return starts_.back(); }
  std::span<const uint64_t> starts() const { return starts_; }
  // Entries from … to, in place or in `scratch`. May be called on several threads at once.
  virtual Entries read(uint64_t from, uint64_t to, Scratch& scratch) const = 0;

 protected:
  std::vector<uint64_t> starts_;  // rising, starts with 0
};

// In memory, from pairs (line, other); entries of a line in the order of the pairs.
class OwnLines : public Lines {
 public:
  OwnLines(std::span<const uint32_t> line, std::span<const uint32_t> other, std::span<const float> weight,
           size_t count);
  Entries read(uint64_t from, uint64_t, Scratch&) const override {
    return {ids_.data() + from, weights_.empty() ? nullptr : weights_.data() + from};
  }
  std::span<const uint32_t> ids() const { return ids_; }
  std::span<const float> weights() const { return weights_; }

 private:
  std::vector<uint32_t> ids_;
  std::vector<float> weights_;
};

struct ImplicitSettings {
  uint32_t factors = 64;    // k, 1 … kMaxFactors
  double unobserved = 0.1;  // α ≥ 0
  double penalty = 0.01;    // λ > 0
  double exponent = 1;      // ν, 0 … 2
  double deviation = 0.1;   // of the first items' vectors' length, > 0
  uint32_t sweeps = 8;      // ≥ 1
  uint64_t seed = 0;
};
// Throws BAD_ARGUMENT.
void check(const ImplicitSettings& settings);

// count × stride float32, zero beyond `factors`.
struct Table {
  Table() = default;
  Table(size_t rows, uint32_t factors);
  float* row(size_t i) const { return values.as<float>() + i * stride; }

  size_t count = 0;
  uint32_t factors = 0, stride = 0;
  Buffer values;
};

// Σ_i y_i y_iᵀ, stride × stride, on and right of the diagonal.
std::vector<float> gram(const Table& table, unsigned threads, const Cancel& cancel);

// Solves all lines given the other side's table and its Gram matrix, where `others` counts the other side
// (the table may hold only those that the lines name). `tick` is told of lines done, on any thread. Throws
// FILE_CORRUPT for an entry out of range and NOT_FINITE where float32 overflows.
void solve_lines(const Lines& lines, const Table& other, std::span<const float> gram_of_other, size_t others,
                 const ImplicitSettings& settings, Table& out, unsigned threads, const Cancel& cancel,
                 const std::function<void(size_t lines)>& tick);

// The items' vectors before the first sweep: sums of uniform numbers, of variance (deviation²/k), from the
// seed.
Table first_items(size_t items, const ImplicitSettings& settings);

struct Factorisation {
  Table users, items;
  std::vector<float> gram;  // of the items
};
// From the items' table after `done` sweeps to the end. `after_sweep` is called with the sweeps done.
Factorisation factorise(const Lines& by_user, const Lines& by_item, const ImplicitSettings& settings,
                        Table items, uint32_t done, unsigned threads, const Cancel& cancel,
                        const Progress& progress,
                        const std::function<void(uint32_t done, const Table& items)>& after_sweep);

}  // namespace pointsman::train
