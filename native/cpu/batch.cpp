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
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    if (kernels.codings[coding].coarse.single > 0 && (request.codings >> coding & 1))
      encode(coding, kernels.codings[coding]);
  }
}

// As few groups of like size as there can be: each reads all rows. Where they give every thread several to
// do, as many for each thread as for any other.
void Batch::cut(const Kernels& kernels) {
  const uint32_t count = request_.query_count, threads = std::max<uint32_t>(1, request_.threads);
  uint32_t groups = (count + kGroupQueries - 1) / kGroupQueries;
  if (groups >= 2 * threads) groups = (groups + threads - 1) / threads * threads;
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

void Batch::encode(uint32_t coding, const CodeKernel& kernel) {
  CodedQueries& coded = coded_[coding];
  const size_t bytes = query_bytes(coding, coding_steps(coding, request_.dimensions));
  coded.bytes = query_bytes(coding, first_steps(coding, request_.dimensions)) + bytes;
  coded.codes = Buffer(coded.bytes * request_.query_count);
  coded.queries.reserve(request_.query_count);
  const auto with_offset = [&](const QueryStep& of) -> CodedStep {
    return {of.step, of.step > 0 ? 1 / of.step : 0, of.error, static_cast<double>(kernel.zero) * of.sum};
  };
  for (uint32_t q = 0; q < request_.query_count; ++q) {
    int8_t* codes = coded.codes.as<int8_t>() + q * coded.bytes;
    double norm = request_.query_norms[q];
    const QueryCode code = coding == POINTSMAN_PREFIX
                               ? encode_query_prefix(request_.query_prefixes + size_t{q} * kPrefixComponents,
                                                     kernel, codes, norm)
                               : encode_query(query(q), request_.dimensions, kernel, bytes, codes);
    coded.queries.push_back({norm, with_offset(code.coarse), with_offset(code.full)});
  }
}

}  // namespace pointsman
