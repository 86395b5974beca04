// A filter in the order of rows: handles lie in a block by norm, so looking each one up at every search would
// take longer than scanning its codes. Made at a filter's first search of a block, for the rows that are
// there; more when the block has grown.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "pointsman/backend.hpp"
#include "pointsman/index.hpp"

namespace pointsman {

class FilterRows {
 public:
  // Bit i: row i of a block is not in the filter.
  using LeftOut = std::shared_ptr<const std::vector<uint64_t>>;

  // Sets each block's `left_out`, which live as long as what is returned.
  std::vector<LeftOut> apply(const Filter& filter, std::vector<pointsman_block>& blocks, unsigned threads);

 private:
  struct Entry {
    uint32_t rows;
    LeftOut left_out;
  };

  std::mutex mutex_;
  std::map<uint64_t, Entry> blocks_;  // by id, of the version that was searched last
};

}  // namespace pointsman
