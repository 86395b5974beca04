#include "cuda/residency.hpp"

#include <algorithm>
#include <cstring>

#include "cuda/kernels.hpp"

namespace pointsman::cuda {
namespace {

constexpr size_t kStaging = size_t{4} << 20;
constexpr size_t kImages = 4;
constexpr uint32_t kMostUnits = UINT32_MAX / kCodePage;  // rows are numbered in 32 bits
// What is left of the budget for searches.
constexpr size_t kMostReserved = size_t{512} << 20;

uint32_t full_pages(const pointsman_block& block) {
  return block.codings[POINTSMAN_BYTES].codes == nullptr ? 0 : block.count / kCodePage;
}

}  // namespace

Residency::Residency(Device& device)
    : device_(device),
      staging_{device.allocate_pinned(kStaging), device.allocate_pinned(kStaging)},
      sent_{Event(device), Event(device)} {}

Residency::~Residency() { cudaStreamSynchronize(device_.uploads()); }

size_t Residency::blocks() const {
  std::lock_guard lock(mutex_);
  return copies_.size();
}

void Residency::forget(uint64_t block) noexcept {
  std::lock_guard lock(mutex_);
  if (copies_.erase(block) > 0) images_.clear();  // searches that run keep theirs
}

Memory Residency::allocate(size_t bytes) {
  std::lock_guard lock(mutex_);
  for (;;) {
    try {
      Memory memory = device_.allocate(bytes);
      device_.check(cudaStreamSynchronize(device_.uploads()), "allocation");
      return memory;
    } catch (const Error& error) {
      if (error.code() != Code::OUT_OF_MEMORY || !make_room(bytes)) throw;
    }
  }
}

std::shared_ptr<Memory> Residency::take(size_t bytes) {
  for (;;) {
    try {
      return std::make_shared<Memory>(device_.allocate(bytes));
    } catch (const Error& error) {
      if (error.code() != Code::OUT_OF_MEMORY || !make_room(bytes)) throw;
    }
  }
}

// Drops copies, the least recently used first, until so many bytes are free; those of the current search
// stay. False when that frees nothing.
bool Residency::make_room(size_t bytes) {
  const size_t before = device_.used();
  images_.clear();
  std::vector<std::pair<uint64_t, uint64_t>> oldest;  // used, id
  for (const auto& [id, copy] : copies_) {
    if (copy.used < now_) oldest.emplace_back(copy.used, id);
  }
  std::sort(oldest.begin(), oldest.end());
  for (const auto& [used, id] : oldest) {
    if (before - device_.used() >= bytes) break;
    copies_.erase(id);
  }
  return device_.used() < before;
}

// Whether rows go to the device, too. It depends on the index alone, not on what is there at the moment.
bool Residency::plan(const pointsman_request& request) const {
  size_t codes = 0, rows = 0;
  for (size_t b = 0; b < request.block_count; ++b) {
    const pointsman_block& block = request.blocks[b];
    codes += block.capacity / kCodePage * page_bytes(POINTSMAN_BYTES, request.dimensions) +
             block.capacity * (sizeof(uint32_t) + 1.0 / 8) + (block.capacity / kCodePage + 1) * sizeof(Unit);
    rows += size_t{block.capacity} * request.stride * sizeof(float);
  }
  const size_t room = device_.budget() - std::min(kMostReserved, device_.budget() / 4);
  if (codes > room) {
    throw Error(Code::OUT_OF_MEMORY, "the index needs " + std::to_string(codes) +
                                         " bytes of device memory, of which " + std::to_string(room) +
                                         " may be used");
  }
  return codes + rows <= room;
}

std::shared_ptr<const Image> Residency::acquire(const pointsman_request& request) {
  std::vector<Key> key(request.block_count);
  for (size_t b = 0; b < request.block_count; ++b) {
    const pointsman_block& block = request.blocks[b];
    key[b] = {block.id, block.count, block.dead_count};
  }
  std::lock_guard lock(mutex_);
  ++now_;
  const auto known =
      std::find_if(images_.begin(), images_.end(), [&](const Cached& c) { return c.key == key; });
  if (known != images_.end()) {
    images_.splice(images_.begin(), images_, known);
    for (const Key& block : key) copies_.at(block.id).used = now_;
    return known->image;
  }
  const bool with_rows = plan(request);
  for (size_t b = 0; b < request.block_count; ++b) {  // before anything makes room
    const auto copy = copies_.find(request.blocks[b].id);
    if (copy != copies_.end()) copy->second.used = now_;
  }
  std::shared_ptr<const Image> image;
  try {
    image = build(request, with_rows);
  } catch (const Error& error) {
    // Others use the device, too: there may be less memory than the budget says.
    if (error.code() != Code::OUT_OF_MEMORY || !with_rows) throw;
    image = build(request, false);
  }
  images_.push_front({std::move(key), image});
  if (images_.size() > kImages) images_.pop_back();
  return image;
}

void Residency::upload(void* to, const void* from, size_t bytes) {
  auto* target = static_cast<uint8_t*>(to);
  auto* source = static_cast<const uint8_t*>(from);
  while (bytes > 0) {
    if (filled_ == kStaging) {
      device_.check(cudaEventRecord(sent_[filling_].get(), device_.uploads()), "upload");
      filling_ ^= 1;
      filled_ = 0;
      device_.check(cudaEventSynchronize(sent_[filling_].get()), "upload");
    }
    const size_t part = std::min(bytes, kStaging - filled_);
    uint8_t* staged = staging_[filling_].as<uint8_t>() + filled_;
    std::memcpy(staged, source, part);
    device_.check(cudaMemcpyAsync(target, staged, part, cudaMemcpyHostToDevice, device_.uploads()), "upload");
    filled_ += part;
    target += part;
    source += part;
    bytes -= part;
  }
}

// Everything brought is there when this returns.
void Residency::finish_uploads() {
  device_.check(cudaStreamSynchronize(device_.uploads()), "upload");
  filled_ = 0;
}

// Adds to a copy what the block has more than it.
void Residency::bring(const pointsman_request& request, const pointsman_block& block, bool with_rows,
                      Copy& copy) {
  copy.used = now_;
  const uint32_t pages = full_pages(block);
  const size_t page = page_bytes(POINTSMAN_BYTES, request.dimensions);
  if (!copy.codes && block.capacity >= kCodePage) copy.codes = take(block.capacity / kCodePage * page);
  if (pages > copy.pages) {
    upload(copy.codes->as<uint8_t>() + copy.pages * page,
           block.codings[POINTSMAN_BYTES].codes + copy.pages * page, (pages - copy.pages) * page);
    copy.pages = pages;
  }
  if (!copy.handles) copy.handles = take(block.capacity * sizeof(uint32_t));
  if (block.count > copy.handle_count) {
    upload(copy.handles->as<uint32_t>() + copy.handle_count, block.handles + copy.handle_count,
           (block.count - copy.handle_count) * sizeof(uint32_t));
    copy.handle_count = block.count;
  }
  if (!with_rows) {
    copy.rows.reset();
    copy.row_count = 0;
  } else {
    const size_t row = request.stride * sizeof(float);
    if (!copy.rows) copy.rows = take(block.capacity * row);
    if (block.count > copy.row_count) {
      upload(copy.rows->as<uint8_t>() + copy.row_count * row,
             block.rows + size_t{copy.row_count} * request.stride, (block.count - copy.row_count) * row);
      copy.row_count = block.count;
    }
  }
  // Dead rows of one block only become more: their number tells one set of them from another.
  if (block.dead != nullptr && (!copy.dead || copy.dead_count != block.dead_count)) {
    auto dead = take((block.capacity + 63) / 64 * sizeof(uint64_t));
    upload(dead->as<void>(), block.dead, dead->bytes());
    copy.dead = std::move(dead);
    copy.dead_count = block.dead_count;
  }
}

// The rows behind the last full page, where rows stay on the host.
std::shared_ptr<Memory> Residency::bring_tail(const pointsman_block& block, uint32_t stride, Copy& copy) {
  const uint32_t page = full_pages(block), rows = block.count - page * kCodePage;
  const size_t row = stride * sizeof(float);
  const float* from = block.rows + size_t{page} * kCodePage * stride;
  if (copy.tail && copy.tail_page == page) {
    if (rows > copy.tail_rows) {
      upload(copy.tail->as<uint8_t>() + copy.tail_rows * row, from + size_t{copy.tail_rows} * stride,
             (rows - copy.tail_rows) * row);
      copy.tail_rows = rows;
    }
    return copy.tail;
  }
  const uint32_t most = block.codings[POINTSMAN_BYTES].codes != nullptr ? kCodePage : block.capacity;
  auto tail = take(most * row);  // a new one: searches of older versions may be reading the old
  upload(tail->as<void>(), from, rows * row);
  if (!copy.tail || copy.tail_page < page) {
    copy.tail = tail;
    copy.tail_page = page;
    copy.tail_rows = rows;
  }
  return tail;
}

std::shared_ptr<const Image> Residency::build(const pointsman_request& request, bool with_rows) {
  auto image = std::make_shared<Image>();
  image->rows_on_device = with_rows;
  std::vector<Unit> tails, pages;
  std::vector<const float*> tail_rows, page_rows;
  bool any_dead = false;
  for (size_t b = 0; b < request.block_count; ++b) {
    const pointsman_block& block = request.blocks[b];
    Copy& copy = copies_[block.id];
    bring(request, block, with_rows, copy);
    const uint32_t full = full_pages(block);
    const uint64_t* dead = nullptr;
    if (block.dead != nullptr) {
      dead = copy.dead->as<uint64_t>();
      image->holds.push_back(copy.dead);
      any_dead = true;
    }
    if (copy.codes) image->holds.push_back(copy.codes);
    if (copy.rows) image->holds.push_back(copy.rows);
    image->holds.push_back(copy.handles);
    for (uint32_t p = 0; p * kCodePage < block.count; ++p) {
      const size_t first = size_t{p} * kCodePage;
      Unit unit{};
      unit.rows = with_rows ? copy.rows->as<float>() + first * request.stride : nullptr;
      unit.handles = copy.handles->as<uint32_t>() + first;
      unit.dead = dead == nullptr ? nullptr : dead + first / 64;
      unit.count = std::min(kCodePage, static_cast<uint32_t>(block.count - first));
      const float* host = block.rows + first * request.stride;
      if (p < full) {
        const pointsman_code_page& page = block.codings[POINTSMAN_BYTES].pages[p];
        unit.codes = copy.codes->as<uint8_t>() + p * page_bytes(POINTSMAN_BYTES, request.dimensions);
        unit.scale = page.scale;
        unit.error = page.error;
        unit.hat = page.hat;
        unit.norm = page.norm;
        unit.min_handle = page.min_handle;
        pages.push_back(unit);
        page_rows.push_back(host);
      } else {
        if (!with_rows) {
          const auto tail = bring_tail(block, request.stride, copy);
          unit.rows = tail->as<float>() + (p - full) * size_t{kCodePage} * request.stride;
          image->holds.push_back(tail);
        }
        tails.push_back(unit);
        tail_rows.push_back(host);
      }
    }
  }
  image->tails = static_cast<uint32_t>(tails.size());
  tails.insert(tails.end(), pages.begin(), pages.end());
  tail_rows.insert(tail_rows.end(), page_rows.begin(), page_rows.end());
  if (tails.size() > kMostUnits) throw Error(Code::OUT_OF_MEMORY, "a device takes at most 2^32 rows");
  image->count = static_cast<uint32_t>(tails.size());
  image->host_rows = std::move(tail_rows);
  std::vector<uint32_t> rows;
  for (const Unit& unit : tails) rows.push_back(unit.count);
  image->units = std::move(*take(tails.size() * sizeof(Unit)));
  upload(image->units.as<void>(), tails.data(), tails.size() * sizeof(Unit));
  if (any_dead) find_eligible(*image, rows);
  finish_uploads();
  image->upto.assign(1, 0);
  for (const uint32_t count : rows) image->upto.push_back(image->upto.back() + count);
  return image;
}

// Masks of the rows that are not dead, for every search of this version; `rows` gets their numbers.
void Residency::find_eligible(Image& image, std::vector<uint32_t>& rows) {
  image.eligible = std::move(*take(image.count * kTiles * sizeof(uint64_t)));
  const auto counts = take(image.count * sizeof(uint32_t));
  const cudaStream_t stream = device_.uploads();
  device_.check(launch_eligible(image.units.as<Unit>(), image.count, nullptr, 0,
                                image.eligible.as<uint64_t>(), counts->as<uint32_t>(), stream),
                "eligible rows");
  device_.check(cudaMemcpyAsync(rows.data(), counts->as<void>(), image.count * sizeof(uint32_t),
                                cudaMemcpyDeviceToHost, stream),
                "eligible rows");
  finish_uploads();
}

}  // namespace pointsman::cuda
