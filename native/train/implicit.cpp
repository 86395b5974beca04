#include "train/implicit.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>

#include "pointsman/hash.hpp"
#include "pointsman/kernels.hpp"
#include "pointsman/solve.hpp"
#include "pointsman/thread_pool.hpp"
#include "train/dense.hpp"

namespace pointsman::train {
namespace {

constexpr size_t kTaskLines = 64;
constexpr uint64_t kPiece = 1 << 16;  // entries read at once
constexpr size_t kGramParts = 64;     // fixed, so that sums have one order on every thread count

// Packed rows of one kernel call: what stays in the first-level cache.
uint32_t chunk_of(uint32_t stride) { return std::max(16u, 6144 / stride); }

// What one thread needs for one line at a time.
class Solver {
 public:
  Solver(const Lines& lines, const Table& other, std::span<const float> base, size_t others,
         const ImplicitSettings& settings)
      : kernels_(solve_kernels()),
        lines_(lines),
        other_(other),
        base_(base),
        others_(others),
        settings_(settings),
        stride_(other.stride),
        matrix_(size_t{stride_} * stride_ * sizeof(float)),
        packed_(size_t{chunk_of(stride_)} * stride_ * sizeof(float)),
        vectors_(size_t{3} * stride_ * sizeof(float)) {}

  void solve(size_t line, uint64_t task_end, float* out) {
    float *b = vectors_.as<float>(), *inverse = b + stride_, *scratch = inverse + stride_;
    const uint64_t from = lines_.starts()[line], to = lines_.starts()[line + 1];
    if (from == to) {
      std::fill_n(out, stride_, 0.0f);
      return;
    }
    const double ridge = gather(from, to, task_end, b);
    if (kernels_.factor(matrix_.as<float>(), stride_, inverse, scratch)) {
      kernels_.solve(matrix_.as<float>(), inverse, stride_, b);
    } else {
      gather(from, to, task_end, b);  // `factor` has spoilt it
      solve_widely(b);
    }
    for (uint32_t j = 0; j < stride_; ++j) {
      if (!std::isfinite(b[j])) {
        throw Error(Code::NOT_FINITE, "a vector overflowed float32 (regularisation " + std::to_string(ridge) +
                                          "): weights are too large, or the penalty too small");
      }
    }
    std::copy_n(b, stride_, out);
  }

 private:
  // The normal equations of the entries; returns what was added to the diagonal.
  double gather(uint64_t from, uint64_t to, uint64_t task_end, float* b) {
    float* matrix = matrix_.as<float>();
    std::copy(base_.begin(), base_.end(), matrix);
    std::fill_n(b, stride_, 0.0f);
    double mass = 0;
    const uint32_t chunk = chunk_of(stride_);
    for (uint64_t at = from; at < to; at += chunk) {
      const uint64_t end = std::min(to, at + chunk);
      if (at < have_ || end > until_) fetch(at, std::max(end, std::min(task_end, at + kPiece)));
      const uint32_t* ids = entries_.ids + (at - have_);
      const float* weights = entries_.weights ? entries_.weights + (at - have_) : nullptr;
      const auto count = static_cast<uint32_t>(end - at);
      if (weights == nullptr) mass += count;
      for (uint32_t e = 0; weights != nullptr && e < count; ++e) mass += weights[e];
      kernels_.gather(other_.values.as<float>(), ids, weights, count, stride_, packed_.as<float>(), b);
      kernels_.add_outer(packed_.as<float>(), count, stride_, matrix);
    }
    const double size = mass + settings_.unobserved * static_cast<double>(others_);
    const double scale = settings_.exponent == 1 ? size : std::pow(size, settings_.exponent);
    const double ridge = settings_.penalty * scale;
    for (uint32_t j = 0; j < stride_; ++j) matrix[size_t{j} * stride_ + j] += static_cast<float>(ridge);
    return ridge;
  }

  // Files may hold anything: nothing is read by an id or a weight that was not looked at.
  void fetch(uint64_t from, uint64_t to) {
    until_ = have_ = 0;
    entries_ = lines_.read(from, to, scratch_);
    uint32_t largest = 0;
    bool sound = true;
    for (uint64_t e = 0; e < to - from; ++e) largest = std::max(largest, entries_.ids[e]);
    for (uint64_t e = 0; entries_.weights != nullptr && e < to - from; ++e)
      sound &= entries_.weights[e] >= 0 && entries_.weights[e] <= 1e30f;
    if (largest >= other_.count || !sound)
      throw Error(Code::FILE_CORRUPT, "an interaction names what is out of range");
    have_ = from;
    until_ = to;
  }

  void solve_widely(float* b) const {
    const float* matrix = matrix_.as<float>();
    std::vector<double> wide(size_t{stride_} * stride_), right(b, b + stride_);
    for (size_t i = 0; i < stride_; ++i) {
      for (size_t j = 0; j <= i; ++j) wide[i * stride_ + j] = matrix[j * stride_ + i];
    }
    cholesky(wide, stride_);
    cholesky_solve(wide, stride_, right);
    for (size_t j = 0; j < stride_; ++j) b[j] = static_cast<float>(right[j]);
  }

  const SolveKernels& kernels_;
  const Lines& lines_;
  const Table& other_;
  std::span<const float> base_;
  size_t others_;
  const ImplicitSettings& settings_;
  uint32_t stride_;
  Buffer matrix_, packed_, vectors_;
  Lines::Scratch scratch_;
  Lines::Entries entries_{nullptr, nullptr};
  uint64_t have_ = 0, until_ = 0;
};

// Where the tasks begin: some lines each, fewer where lines are long.
std::vector<size_t> tasks_of(std::span<const uint64_t> starts) {
  std::vector<size_t> out{0};
  for (size_t i = 1; i < starts.size(); ++i) {
    if (i - out.back() >= kTaskLines || starts[i] - starts[out.back()] >= kPiece) out.push_back(i);
  }
  if (out.back() + 1 != starts.size()) out.push_back(starts.size() - 1);
  return out;
}

}  // namespace

void check(const ImplicitSettings& s) {
  const auto within = [](double x, double low, double high) { return x >= low && x <= high; };
  if (s.factors < 1 || s.factors > kMaxFactors)
    throw Error(Code::BAD_ARGUMENT, "factors must be from 1 to " + std::to_string(kMaxFactors));
  if (!within(s.unobserved, 0, 1e6)) throw Error(Code::BAD_ARGUMENT, "unobserved must be from 0 to 1e6");
  if (!within(s.penalty, 1e-9, 1e9)) throw Error(Code::BAD_ARGUMENT, "penalty must be from 1e-9 to 1e9");
  if (!within(s.exponent, 0, 2)) throw Error(Code::BAD_ARGUMENT, "exponent must be from 0 to 2");
  if (!within(s.deviation, 1e-6, 1e3)) throw Error(Code::BAD_ARGUMENT, "deviation must be from 1e-6 to 1000");
  if (s.sweeps < 1) throw Error(Code::BAD_ARGUMENT, "sweeps must be at least 1");
}

OwnLines::OwnLines(std::span<const uint32_t> line, std::span<const uint32_t> other,
                   std::span<const float> weight, size_t count)
    : ids_(line.size()), weights_(weight.size()) {
  starts_.assign(count + 1, 0);
  for (const uint32_t i : line) ++starts_[size_t{i} + 1];
  for (size_t i = 0; i < count; ++i) starts_[i + 1] += starts_[i];
  std::vector<uint64_t> next(starts_.begin(), starts_.end() - 1);
  for (size_t e = 0; e < line.size(); ++e) {
    const uint64_t to = next[line[e]]++;
    ids_[to] = other[e];
    if (!weight.empty()) weights_[to] = weight[e];
  }
}

Table::Table(size_t rows, uint32_t k) : count(rows), factors(k), stride(stride_of(k)) {
  if (rows > SIZE_MAX / sizeof(float) / stride) throw std::bad_alloc();
  values = Buffer(rows * stride * sizeof(float));
}

std::vector<float> gram(const Table& table, unsigned threads, const Cancel& cancel) {
  const SolveKernels& kernels = solve_kernels();
  const size_t cells = size_t{table.stride} * table.stride;
  const size_t parts = std::max<size_t>(1, std::min(kGramParts, table.count / 256));
  Buffer sums(parts * cells * sizeof(float));
  ThreadPool::shared().parallel_for(parts, threads, [&](size_t part, unsigned) {
    const uint32_t chunk = chunk_of(table.stride);
    const size_t end = (part + 1) * table.count / parts;
    for (size_t i = part * table.count / parts; i < end; i += chunk) {
      if (i % 1024 < chunk) cancel.check();
      kernels.add_outer(table.row(i), static_cast<uint32_t>(std::min<size_t>(chunk, end - i)), table.stride,
                        sums.as<float>() + part * cells);
    }
  });
  std::vector<float> out(cells);
  for (size_t c = 0; c < cells; ++c) {
    double sum = 0;
    for (size_t part = 0; part < parts; ++part) sum += sums.as<float>()[part * cells + c];
    out[c] = static_cast<float>(sum);
  }
  return out;
}

void solve_lines(const Lines& lines, const Table& other, std::span<const float> gram_of_other, size_t others,
                 const ImplicitSettings& settings, Table& out, unsigned threads, const Cancel& cancel,
                 const std::function<void(size_t)>& tick) {
  std::vector<float> base(gram_of_other.begin(), gram_of_other.end());
  for (float& x : base) x *= static_cast<float>(settings.unobserved);
  const std::vector<size_t> tasks = tasks_of(lines.starts());
  std::vector<std::unique_ptr<Solver>> solvers(threads);
  ThreadPool::shared().parallel_for(tasks.size() - 1, threads, [&](size_t task, unsigned slot) {
    cancel.check();
    if (!solvers[slot]) solvers[slot] = std::make_unique<Solver>(lines, other, base, others, settings);
    const uint64_t task_end = lines.starts()[tasks[task + 1]];
    for (size_t i = tasks[task]; i < tasks[task + 1]; ++i) solvers[slot]->solve(i, task_end, out.row(i));
    if (tick) tick(tasks[task + 1] - tasks[task]);
  });
}

Table first_items(size_t items, const ImplicitSettings& settings) {
  Table table(items, settings.factors);
  const double scale = settings.deviation / std::sqrt(static_cast<double>(settings.factors)) * std::sqrt(3.0);
  for (size_t i = 0; i < items; ++i) {
    for (uint32_t j = 0; j < settings.factors; ++j) {
      // Four uniform numbers of 16 bits: near to normal, and the same bits with every mathematical library.
      uint64_t bits = mix64(mix64(settings.seed) ^ (i * kMaxFactors + j));
      double sum = -2;
      for (int part = 0; part < 4; ++part, bits >>= 16)
        sum += (static_cast<double>(bits & 0xFFFF) + 0.5) / 65536;
      table.row(i)[j] = static_cast<float>(scale * sum);
    }
  }
  return table;
}

Factorisation factorise(const Lines& by_user, const Lines& by_item, const ImplicitSettings& settings,
                        Table items, uint32_t done, unsigned threads, const Cancel& cancel,
                        const Progress& progress,
                        const std::function<void(uint32_t, const Table&)>& after_sweep) {
  check(settings);
  const size_t users = by_user.count();
  const uint64_t sweep = users + items.count, total = sweep * (settings.sweeps - done) + users;
  std::atomic<uint64_t> solved{0};
  const auto tick = [&](size_t lines) {
    const uint64_t now = solved.fetch_add(lines, std::memory_order_relaxed) + lines;
    if (progress) progress(now, total);
  };
  Factorisation out{Table(users, settings.factors), std::move(items), {}};
  const auto solve_users = [&] {
    out.gram = gram(out.items, threads, cancel);
    solve_lines(by_user, out.items, out.gram, out.items.count, settings, out.users, threads, cancel, tick);
  };
  while (done < settings.sweeps) {
    solve_users();
    const std::vector<float> of_users = gram(out.users, threads, cancel);
    solve_lines(by_item, out.users, of_users, users, settings, out.items, threads, cancel, tick);
    ++done;
    if (after_sweep) after_sweep(done, out.items);
  }
  solve_users();
  return out;
}

}  // namespace pointsman::train
