#include "core/storage.hpp"

#include <atomic>

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
              rows_capacity / kCodePage * (sizeof(CodePage) + page_bytes(dimensions))) {
  rows = memory_.as<float>();
  pages = reinterpret_cast<CodePage*>(rows + size_t{capacity} * stride);
  norms = reinterpret_cast<float*>(pages + capacity / kCodePage);
  handles = reinterpret_cast<uint32_t*>(norms + capacity);
  codes = reinterpret_cast<uint8_t*>(handles + capacity);
}

Block::Block(uint32_t count, float* file_rows, float* file_norms, uint32_t* file_handles, uint8_t* file_codes,
             CodePage* file_pages, std::shared_ptr<const void> owner)
    : id(next_block_id()),
      capacity(count),
      rows(file_rows),
      norms(file_norms),
      handles(file_handles),
      codes(file_codes),
      pages(file_pages),
      owner_(std::move(owner)) {}

void Block::encode(uint32_t page, uint32_t dimensions, uint32_t stride) {
  const size_t first = size_t{page} * kCodePage;
  pages[page] = encode_page(rows + first * stride, stride, dimensions, norms + first, handles + first,
                            codes + page * page_bytes(dimensions));
}

Prefixes::Prefixes(uint32_t capacity)
    : memory(capacity / kCodePage * (sizeof(CodePage) + page_bytes(kPrefixComponents))) {
  pages = memory.as<CodePage>();
  codes = reinterpret_cast<uint8_t*>(pages + capacity / kCodePage);
}

void Prefixes::encode(const Rotation& rotation, const Block& block, uint32_t page, uint32_t stride) {
  pages[page] = rotation.encode_page(block.rows + size_t{page} * kCodePage * stride, stride,
                                     codes + page * page_bytes(kPrefixComponents));
}

Block::~Block() { forget_block(id); }

std::vector<pointsman_block> Version::view() const {
  std::vector<pointsman_block> blocks;
  blocks.reserve(extents.size());
  for (const Extent& extent : extents) {
    if (extent.rows == 0 || extent.dead_count == extent.rows) continue;
    blocks.push_back({extent.block->id, extent.block->rows, extent.block->norms, extent.block->handles,
                      extent.dead ? extent.dead->data() : nullptr, extent.rows, extent.block->codes,
                      extent.block->pages, extent.prefixes ? extent.prefixes->codes : nullptr,
                      extent.prefixes ? extent.prefixes->pages : nullptr});
  }
  return blocks;
}

}  // namespace pointsman
