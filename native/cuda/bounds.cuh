// What a sum of codes proves about a score: the formulas of codes.hpp and cpu/scan_codes.cpp, on the device.
// Everything is float64 and rounds towards keeping rows.
#pragma once

#include <climits>
#include <cmath>

#include "intrinsics.cuh"
#include "views.hpp"

namespace pointsman::cuda {

// A score that certainly is below `tau` by more than the rounding of a score to float32.
__device__ inline double below(float tau) {
  return tau - fabs(static_cast<double>(tau)) * 0x1p-23 - 0x1p-149;
}

// float32 bounds of a value, outwards by more than any rounding of it.
__device__ inline float round_down(double x) { return static_cast<float>(x - fabs(x) * 0x1p-22 - 0x1p-148); }
__device__ inline float round_up(double x) { return static_cast<float>(x + fabs(x) * 0x1p-22 + 0x1p-148); }

// What codes of a query and of a unit can hide of a score.
__device__ inline double hidden(const CodedQuery& query, const Unit& unit) {
  return (query.norm * unit.error + query.error * unit.hat) * (1 + 0x1p-30);
}

// The least sum of codes with which a row of this unit matters to the query; INT_MAX when none can.
__device__ inline int least_sum(const CodedQuery& query, const QueryState& state, const Unit& unit) {
  if (state.stopped != 0) return INT_MAX;
  const float tau = state.tau;
  if (tau == -INFINITY) return INT_MIN;
  if (query.step == 0) {
    const bool strictly = unit.min_handle > state.worst;  // equal scores go to lower handles
    return tau < 0 || (tau == 0 && !strictly) ? INT_MIN : INT_MAX;
  }
  const double wanted = below(tau);
  if (query.norm * unit.norm < wanted) return INT_MAX;
  const double sum = (wanted - hidden(query, unit)) * query.inverse_step / unit.scale + query.offset;
  if (sum >= 0x1p30) return INT_MAX;
  // A whole unit of the sum, which floor may give away, is worth at least 2⁻²⁶·‖q‖‖x‖: it covers all rounding
  // of this float64 arithmetic (2⁻⁴³) and of the float64 sum that a score is.
  return sum <= -0x1p30 ? INT_MIN : static_cast<int>(floor(sum));
}

// Whether a row whose score is `upper` at most can still be among the k best.
__device__ inline bool matters(float upper, uint32_t handle, float tau, uint32_t worst) {
  return upper > tau || (upper == tau && handle <= worst);
}

// Appends a candidate. What finds no room is counted all the same: that tells that some were lost.
__device__ inline void append(const Scan& scan, uint32_t query, const Candidate& candidate) {
  QueryState& state = scan.states[query];
  if (!matters(candidate.upper, candidate.handle, state.tau, state.worst)) return;
  const uint32_t place = atomicAdd(&state.count, 1u);
  if (place < scan.capacity) scan.candidates[size_t{query} * scan.capacity + place] = candidate;
}

// The same for a row whose sum of codes reached its threshold.
__device__ inline void append_sum(const Scan& scan, uint32_t query, uint32_t number, const Unit& unit,
                                  uint32_t place, int sum) {
  const CodedQuery& coded = scan.queries[query];
  Candidate candidate{0, 0, number * kCodePage + place, unit.handles[place]};
  if (coded.step != 0) {  // else every product is exactly 0
    const double score = coded.step * unit.scale * (sum - coded.offset);
    const double most = hidden(coded, unit) + coded.norm * unit.norm * 0x1p-40;
    candidate.lower = round_down(score - most);
    candidate.upper = round_up(score + most);
  }
  append(scan, query, candidate);
}

// Bits of the rows of a tile that are searched.
__device__ inline uint64_t eligible_rows(const Scan& scan, uint32_t number, uint32_t tile) {
  return scan.eligible == nullptr ? ~uint64_t{0} : scan.eligible[size_t{number} * kTiles + tile];
}

__device__ inline uint32_t unit_number(const Scan& scan, uint32_t position) {
  return scan.list == nullptr ? position : scan.list[position];
}

}  // namespace pointsman::cuda
