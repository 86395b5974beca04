#include "cpu/batch.hpp"

#include <algorithm>

namespace pointsman {
namespace {

// Below this many queries a panel would be mostly empty, and reading rows is what takes the time.
constexpr uint32_t kPanelFrom = 4;

}  // namespace

Batch::Batch(const pointsman_request& request, const Kernels& kernels) : request_(request) {
  cut(kernels);
  pack(kernels);
  if (kernels.scan_codes != nullptr) encode(kernels);
}

// Groups of like size, as many for each thread as for any other where there are queries enough.
void Batch::cut(const Kernels& kernels) {
  const uint32_t count = request_.query_count, threads = std::max<uint32_t>(1, request_.threads);
  uint32_t groups = (count + kGroupQueries - 1) / kGroupQueries;
  if (count >= threads * kernels.lanes) groups = (groups + threads - 1) / threads * threads;
  const uint32_t share = (count + groups - 1) / groups;
  const uint32_t size = std::min(kGroupQueries, (share + kernels.lanes - 1) / kernels.lanes * kernels.lanes);
  for (uint32_t first = 0; first < count; first += size) {
    groups_.push_back({first, std::min(size, count - first), {}});
  }
}

// Panels as wide as the kernels take, the last one narrower.
void Batch::pack(const Kernels& kernels) {
  if (request_.query_count < kPanelFrom) return;
  const uint32_t lanes = kernels.lanes, widest = lanes * kernels.max_vectors,
                 dimensions = request_.dimensions;
  size_t total = 0;
  for (QueryGroup& group : groups_) {
    for (uint32_t done = 0; done < group.count;) {
      const uint32_t left = group.count - done;
      const uint32_t width = std::min(widest, (left + lanes - 1) / lanes * lanes);
      group.panels.push_back({group.first + done, std::min(left, width), width, nullptr});
      done += group.panels.back().count;
      total += size_t{width} * dimensions;
    }
  }
  packed_ = Buffer(total * sizeof(float));
  float* to = packed_.as<float>();
  for (QueryGroup& group : groups_) {
    for (Panel& panel : group.panels) {
      panel.values = to;
      for (uint32_t q = 0; q < panel.count; ++q) {
        const float* values = query(panel.first + q);
        for (uint32_t j = 0; j < dimensions; ++j) to[size_t{j} * panel.width + q] = values[j];
      }
      to += size_t{panel.width} * dimensions;
    }
  }
}

void Batch::encode(const Kernels& kernels) {
  const auto as_coded = [&](double norm, const QueryCode& code) -> CodedQuery {
    return {norm, code.error, code.step, code.step > 0 ? 1 / code.step : 0,
            static_cast<double>(128 - kernels.code_zero) * code.code_sum};
  };
  code_bytes_ = size_t{steps_of(request_.dimensions)} * 4;
  codes_ = Buffer(code_bytes_ * request_.query_count);
  coded_.reserve(request_.query_count);
  for (uint32_t q = 0; q < request_.query_count; ++q) {
    int8_t* codes = codes_.as<int8_t>() + q * code_bytes_;
    coded_.push_back(as_coded(request_.query_norms[q],
                              encode_query(query(q), request_.dimensions, kernels.code_limit, codes)));
  }
  if (request_.query_prefixes == nullptr) return;
  prefix_codes_ = Buffer(size_t{kPrefixComponents} * request_.query_count);
  coded_prefixes_.reserve(request_.query_count);
  for (uint32_t q = 0; q < request_.query_count; ++q) {
    double norm;
    const QueryCode code =
        encode_query_prefix(request_.query_prefixes + size_t{q} * kPrefixComponents, kernels.code_limit,
                            prefix_codes_.as<int8_t>() + size_t{q} * kPrefixComponents, norm);
    coded_prefixes_.push_back(as_coded(norm, code));
  }
}

}  // namespace pointsman
