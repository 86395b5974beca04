#include "core/filter_rows.hpp"

#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

FilterRows::LeftOut look_up(const Filter& filter, const pointsman_block& block) {
  auto words = std::make_shared<std::vector<uint64_t>>((block.count + 63) / 64);
  for (uint32_t row = 0; row < block.count; ++row) {
    // The last bit of `bits` belongs to no handle (it is beyond `handles`).
    const uint32_t handle = block.handles[row] < filter.handles ? block.handles[row] : filter.handles;
    const uint64_t in = filter.bits[handle / 64] >> (handle % 64) & 1;
    (*words)[row / 64] |= (in ^ 1) << (row % 64);
  }
  return words;
}

}  // namespace

std::vector<FilterRows::LeftOut> FilterRows::apply(const Filter& filter, std::vector<pointsman_block>& blocks,
                                                   unsigned threads) {
  std::vector<LeftOut> masks(blocks.size());
  std::vector<size_t> missing;
  {
    std::lock_guard lock(mutex_);
    for (size_t b = 0; b < blocks.size(); ++b) {
      const auto known = blocks_.find(blocks[b].id);
      if (known != blocks_.end() && known->second.rows >= blocks[b].count) {
        masks[b] = known->second.left_out;
      } else {
        missing.push_back(b);
      }
    }
  }
  if (!missing.empty()) {
    ThreadPool::shared().parallel_for(missing.size(), threads, [&](size_t i, unsigned) {
      masks[missing[i]] = look_up(filter, blocks[missing[i]]);
    });
    std::map<uint64_t, Entry> now;
    for (size_t b = 0; b < blocks.size(); ++b) now[blocks[b].id] = {blocks[b].count, masks[b]};
    std::lock_guard lock(mutex_);
    blocks_.swap(now);
  }
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b].left_out = masks[b]->data();
  return masks;
}

}  // namespace pointsman
