#include "core/rotation.hpp"

#include <algorithm>
#include <cmath>

#include "pointsman/hash.hpp"
#include "pointsman/index.hpp"
#include "pointsman/lanes.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

constexpr uint32_t kDirections = Rotation::kDirections;
constexpr int kIterations = 8;
// Of the rows' energy that the first look's directions must carry; below, their rest excludes hardly any row.
constexpr double kLeastEnergy = 0.5;
// More than the rounding of any float64 sum here, relative to the squared norm of the vector it is about.
constexpr double kSlack = 0x1p-36;

constexpr bool is_rest(uint32_t component) {
  return component + 1 == kShortPrefix || component + 1 == kPrefixComponents;
}

// Orthonormal rows, in order, by Gram and Schmidt; twice, so that they are orthogonal to rounding. Rows that
// vanish become zero: they carry nothing, and no singular value exceeds 1.
void orthonormalise(std::vector<double>& directions, uint32_t dimensions) {
  for (uint32_t i = 0; i < kDirections; ++i) {
    double* row = &directions[size_t{i} * dimensions];
    const double before = std::sqrt(dot(row, row, dimensions));
    for (int pass = 0; pass < 2; ++pass) {
      for (uint32_t j = 0; j < i; ++j) {
        const double* other = &directions[size_t{j} * dimensions];
        const double overlap = dot(row, other, dimensions);
        for (uint32_t d = 0; d < dimensions; ++d) row[d] -= overlap * other[d];
      }
    }
    const double norm = std::sqrt(dot(row, row, dimensions));
    const double scale = norm > 1e-9 * before && norm > 0 ? 1 / norm : 0;
    for (uint32_t d = 0; d < dimensions; ++d) row[d] *= scale;
  }
}

}  // namespace

std::shared_ptr<const Rotation> Rotation::learn(const std::vector<const float*>& rows, uint32_t dimensions,
                                                unsigned threads, const Cancel& cancel) {
  if (dimensions < 2 * kShortPrefix || rows.empty()) return nullptr;
  std::shared_ptr<Rotation> rotation(new Rotation(dimensions));
  std::vector<double>& directions = rotation->directions_;
  directions.resize(values(dimensions));
  for (size_t i = 0; i < directions.size(); ++i) {
    directions[i] = static_cast<double>(mix64(i) >> 11) * 0x1p-53 - 0.5;
  }
  orthonormalise(directions, dimensions);

  // directions ← directions · Σ x xᵀ, in parts of fixed size that are added in order: the same for any thread
  // count.
  constexpr size_t kPart = 256;
  const size_t parts = (rows.size() + kPart - 1) / kPart;
  std::vector<std::vector<double>> sums(parts);
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    ThreadPool::shared().parallel_for(parts, threads, [&](size_t part, unsigned) {
      cancel.check();
      sums[part].assign(directions.size(), 0);
      std::vector<double> x(dimensions);
      for (size_t r = part * kPart; r < std::min(rows.size(), (part + 1) * kPart); ++r) {
        std::copy_n(rows[r], dimensions, x.begin());
        for (uint32_t i = 0; i < kDirections; ++i) {
          const double along = dot(&directions[size_t{i} * dimensions], x.data(), dimensions);
          double* to = &sums[part][size_t{i} * dimensions];
          for (uint32_t d = 0; d < dimensions; ++d) to[d] += along * x[d];
        }
      }
    });
    std::fill(directions.begin(), directions.end(), 0.0);
    for (const auto& sum : sums) {
      for (size_t i = 0; i < sum.size(); ++i) directions[i] += sum[i];
    }
    orthonormalise(directions, dimensions);
  }

  double carried = 0, all = 0;
  std::vector<double> x(dimensions);
  for (const float* row : rows) {
    std::copy_n(row, dimensions, x.begin());
    all += dot(x.data(), x.data(), dimensions);
    for (uint32_t i = 0; i + 1 < kShortPrefix; ++i) {
      const double along = dot(&directions[size_t{i} * dimensions], x.data(), dimensions);
      carried += along * along;
    }
  }
  if (!(carried >= kLeastEnergy * all) || all == 0) return nullptr;
  // Orthonormal to about 1e-15 · dimensions: a little shorter, and no singular value exceeds 1.
  for (double& value : directions) value *= 1 - 1e-10;
  return rotation;
}

std::shared_ptr<const Rotation> Rotation::restore(uint32_t dimensions, const double* directions) {
  std::shared_ptr<Rotation> rotation(new Rotation(dimensions));
  rotation->directions_.assign(directions, directions + values(dimensions));
  // Each row at most 1 long and the rows all but orthogonal: then no singular value exceeds 1 (Gershgorin, on
  // R Rᵀ).
  for (uint32_t i = 0; i < kDirections; ++i) {
    double reach = 0;
    for (uint32_t j = 0; j < kDirections; ++j) {
      reach += std::fabs(
          dot(directions + size_t{i} * dimensions, directions + size_t{j} * dimensions, dimensions));
    }
    if (!(reach <= 1)) return nullptr;
  }
  return rotation;
}

void Rotation::apply(const float* vector, double* prefix) const {
  double x[kMaxDimensions];
  std::copy_n(vector, dimensions_, x);
  const double all = dot(x, x, dimensions_);
  double carried = 0;
  uint32_t direction = 0;
  for (uint32_t i = 0; i < kPrefixComponents; ++i) {
    if (is_rest(i)) {
      prefix[i] = std::sqrt(std::max(0.0, all - carried) + all * kSlack);
    } else {
      prefix[i] = dot(&directions_[size_t{direction++} * dimensions_], x, dimensions_);
      carried += prefix[i] * prefix[i];
    }
  }
}

CodePage Rotation::encode_prefixes(const float* rows, uint32_t stride, uint8_t* codes) const {
  CodePage page{1, 0, 0, 0, 0};
  std::vector<double> prefixes(size_t{kCodePage} * kPrefixComponents);
  double largest = 0;
  for (uint32_t r = 0; r < kCodePage; ++r) {
    double* prefix = &prefixes[size_t{r} * kPrefixComponents];
    apply(rows + size_t{r} * stride, prefix);
    for (uint32_t i = 0; i < kPrefixComponents; ++i) largest = std::max(largest, std::fabs(prefix[i]));
  }
  if (largest > 0) page.scale = largest / 127;
  double worst = 0, hat = 0;  // of both lengths
  for (uint32_t r = 0; r < kCodePage; ++r) {
    double row_error = 0, row_hat = 0;
    for (uint32_t i = 0; i < kPrefixComponents; ++i) {
      const double value = prefixes[size_t{r} * kPrefixComponents + i];
      // A rest is rounded up and hides nothing; so large a code as the ceiling may need is 127 at most.
      const int code =
          static_cast<int>(is_rest(i) ? std::ceil(value / page.scale) : std::lrint(value / page.scale));
      const int held = std::clamp(code, -127, 127);
      const double back = page.scale * held;
      const double error = is_rest(i) && back >= value ? 0 : (value - back) * (value - back);
      codes[place_of(r, i / 4, POINTSMAN_PREFIX, dimensions_) + i % 4] = static_cast<uint8_t>(held + 128);
      if (is_rest(i)) {
        worst = std::max(worst, row_error + error);
        hat = std::max(hat, row_hat + back * back);
      } else {
        row_error += error;
        row_hat += back * back;
      }
    }
  }
  // The components themselves are sums of `dimensions` products: their rounding, relative to the row, is far
  // below kSlack.
  page.error = std::sqrt(worst) + std::sqrt(hat) * kSlack;
  page.hat = std::sqrt(hat) * (1 + kSlack);
  return page;
}

}  // namespace pointsman
