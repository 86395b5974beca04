#include "core/storage.hpp"

#include <atomic>
#include <utility>

#include "core/backends.hpp"

namespace pointsman {
namespace {

uint64_t next_block_id() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Block::Block(uint32_t rows_capacity, uint32_t dimensions, uint32_t stride)
    : id(next_block_id()),
      capacity(rows_capacity),
      memory_(size_t{rows_capacity} * (stride * sizeof(float) + sizeof(float) + sizeof(uint32_t)) +
              rows_capacity / kCodePage *
                  (2 * sizeof(CodePage) + page_bytes(POINTSMAN_BYTES, dimensions) +
                   page_bytes(POINTSMAN_NIBBLES, dimensions))) {
  // What a scan reads in a stretch comes first, where huge pages begin.
  const uint32_t pages = capacity / kCodePage;
  uint8_t* at = memory_.as<uint8_t>();
  const auto take = [&](size_t size) { return std::exchange(at, at + size); };
  bytes.codes = take(pages * page_bytes(POINTSMAN_BYTES, dimensions));
  nibbles.codes = take(pages * page_bytes(POINTSMAN_NIBBLES, dimensions));
  rows = reinterpret_cast<float*>(take(size_t{capacity} * stride * sizeof(float)));
  bytes.pages = reinterpret_cast<CodePage*>(take(pages * sizeof(CodePage)));
  nibbles.pages = reinterpret_cast<CodePage*>(take(pages * sizeof(CodePage)));
  norms = reinterpret_cast<float*>(take(capacity * sizeof(float)));
  handles = reinterpret_cast<uint32_t*>(take(capacity * sizeof(uint32_t)));
}

Block::Block(uint32_t count, float* file_rows, float* file_norms, uint32_t* file_handles,
             const PageCodes& file_bytes, const PageCodes& file_nibbles, std::shared_ptr<const void> owner)
    : id(next_block_id()),
      capacity(count),
      rows(file_rows),
      norms(file_norms),
      handles(file_handles),
      bytes(file_bytes),
      nibbles(file_nibbles),
      owner_(std::move(owner)) {}

void Block::encode(uint32_t page, uint32_t dimensions, uint32_t stride) {
  const size_t first = size_t{page} * kCodePage;
  const float* from = rows + first * stride;
  bytes.pages[page] = encode_bytes(from, stride, dimensions, norms + first, handles + first,
                                   bytes.codes + page * page_bytes(POINTSMAN_BYTES, dimensions));
  nibbles.pages[page] = encode_nibbles(from, stride, dimensions, bytes.pages[page],
                                       nibbles.codes + page * page_bytes(POINTSMAN_NIBBLES, dimensions));
}

Prefixes::Prefixes(uint32_t capacity)
    : memory(capacity / kCodePage * (sizeof(CodePage) + page_bytes(POINTSMAN_PREFIX, 0))) {
  bytes.codes = memory.as<uint8_t>();
  bytes.pages =
      reinterpret_cast<CodePage*>(bytes.codes + capacity / kCodePage * page_bytes(POINTSMAN_PREFIX, 0));
}

void Prefixes::encode(const Rotation& rotation, const Block& block, uint32_t page, uint32_t stride) {
  bytes.pages[page] = rotation.encode_prefixes(block.rows + size_t{page} * kCodePage * stride, stride,
                                               bytes.codes + page * page_bytes(POINTSMAN_PREFIX, 0));
}

Block::~Block() { forget_block(id); }

size_t Version::bytes() const {
  size_t sum = 0;
  for (const Extent& extent : extents) {
    if (extent.block) sum += extent.block->memory() + (extent.prefixes ? extent.prefixes->memory.bytes() : 0);
  }
  return sum;
}

std::vector<pointsman_block> Version::view() const {
  std::vector<pointsman_block> blocks;
  blocks.reserve(extents.size());
  for (const Extent& extent : extents) {
    if (extent.rows == 0 || extent.dead_count == extent.rows) continue;
    const Block& block = *extent.block;
    const PageCodes prefix = extent.prefixes ? extent.prefixes->bytes : PageCodes{};
    blocks.push_back({block.id,
                      block.rows,
                      block.norms,
                      block.handles,
                      extent.dead ? extent.dead->data() : nullptr,
                      nullptr,
                      block.capacity,
                      extent.rows,
                      extent.dead_count,
                      {{block.bytes.codes, block.bytes.pages},
                       {block.nibbles.codes, block.nibbles.pages},
                       {prefix.codes, prefix.pages}}});
  }
  return blocks;
}

}  // namespace pointsman
