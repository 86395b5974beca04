// Index: save and open.
//
// A snapshot is a file (file.hpp, magic POINTSMN) of these sections, each at a multiple of 64:
//   rows     count × stride float32, by falling norm, zero-padded
//   norms    count float32
//   handles  count uint32
//   bytes    of each whole 1024 rows the codes, then the CodePages, see codes.hpp
//   nibbles  the same
//   prefix   the same, and the rotation, where the index has one (rotation.hpp)
//   ends     count uint64: end of each id in `text`
//   text     the ids, UTF-8, one after another
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/state.hpp"
#include "pointsman/file.hpp"
#include "pointsman/kernels.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

constexpr FileKind kSnapshot{"POINTSMN", 4, "a snapshot"};

struct Header {
  FileHead head;
  uint32_t dimensions, next_handle;
  uint64_t count, text_bytes;
  uint64_t rotated;  // 1: there are prefixes
};

struct Layout {
  uint64_t rows, norms, handles;
  uint64_t codes[POINTSMAN_CODINGS], pages[POINTSMAN_CODINGS];
  uint64_t rotation, ends, text, size;
};

bool has_coding(const Header& h, uint32_t coding) { return coding != POINTSMAN_PREFIX || h.rotated == 1; }

Layout lay_out(const Header& h) {
  Sections sections;
  Layout l{};
  l.rows = sections.add(h.count * stride_of(h.dimensions) * sizeof(float));
  l.norms = sections.add(h.count * sizeof(float));
  l.handles = sections.add(h.count * sizeof(uint32_t));
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    const uint64_t coded = has_coding(h, coding) ? h.count / kCodePage : 0;
    l.codes[coding] = sections.add(coded * page_bytes(coding, h.dimensions));
    l.pages[coding] = sections.add(coded * sizeof(CodePage));
  }
  l.rotation = sections.add(h.rotated == 1 ? Rotation::values(h.dimensions) * sizeof(double) : 0);
  l.ends = sections.add(h.count * sizeof(uint64_t));
  l.text = sections.add(h.text_bytes);
  l.size = sections.end();
  return l;
}

template <typename T>
void write_all(OutputFile& file, uint64_t offset, const std::vector<T>& values) {
  file.write(offset, values.data(), values.size() * sizeof(T));
}

}  // namespace

void Index::save(const std::string& path, const Cancel& cancel, const Progress& progress) const {
  const auto version = state_->current();
  struct Row {
    uint64_t key;
    const Block* block;
    uint32_t row;
  };
  std::vector<Row> rows;
  rows.reserve(version->live);
  for (const Extent& extent : version->extents) {
    for (uint32_t row = 0; row < extent.rows; ++row) {
      if (extent.is_dead(row)) continue;
      const Block& block = *extent.block;
      rows.push_back({by_falling_norm(block.norms[row], block.handles[row]), &block, row});
    }
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.key < b.key; });

  const size_t count = rows.size();
  std::vector<uint32_t> handles(count);
  for (size_t i = 0; i < count; ++i) handles[i] = rows[i].block->handles[rows[i].row];
  std::vector<std::string_view> ids(count);
  state_->directory->texts(handles, ids.data());
  std::vector<uint64_t> ends(count);
  uint64_t text_bytes = 0;
  for (size_t i = 0; i < count; ++i) ends[i] = text_bytes += ids[i].size();

  Header header{};
  header.dimensions = dimensions_;
  header.next_handle = version->next_handle;
  header.count = count;
  header.text_bytes = text_bytes;
  header.rotated = version->rotation != nullptr;
  const Layout l = lay_out(header);
  header.head.size = l.size;
  OutputFile file(path);

  // What one thread gathers of a page.
  struct Page {
    std::vector<float> rows, norms;
    std::vector<uint8_t> codes;
    std::string text;
  };
  std::vector<Page> slots(threads_);
  std::vector<CodePage> pages[POINTSMAN_CODINGS];
  for (auto& of_coding : pages) of_coding.resize(count / kCodePage);
  std::atomic<uint64_t> done{0};
  ThreadPool::shared().parallel_for(
      (count + kCodePage - 1) / kCodePage, threads_, [&](size_t n, unsigned slot) {
        cancel.check();
        const size_t first = n * kCodePage, end = std::min<size_t>(count, first + kCodePage);
        Page& page = slots[slot];
        page.rows.resize((end - first) * stride_);
        page.norms.resize(end - first);
        page.text.clear();
        for (size_t i = first; i < end; ++i) {
          const auto [key, block, row] = rows[i];
          std::memcpy(&page.rows[(i - first) * stride_], block->rows + size_t{row} * stride_,
                      stride_ * sizeof(float));
          page.norms[i - first] = block->norms[row];
          page.text += ids[i];
        }
        write_all(file, l.rows + first * stride_ * sizeof(float), page.rows);
        write_all(file, l.norms + first * sizeof(float), page.norms);
        file.write(l.text + ends[end - 1] - page.text.size(), page.text.data(), page.text.size());
        // Pages are cut anew, so they are encoded anew.
        const auto encode = [&](uint32_t coding, const auto& codes_of) {
          page.codes.assign(page_bytes(coding, dimensions_), 0);
          pages[coding][n] = codes_of(page.codes.data());
          write_all(file, l.codes[coding] + n * page.codes.size(), page.codes);
        };
        if (end - first == kCodePage) {
          encode(POINTSMAN_BYTES, [&](uint8_t* codes) {
            return encode_bytes(page.rows.data(), stride_, dimensions_, page.norms.data(), &handles[first],
                                codes);
          });
          encode(POINTSMAN_NIBBLES, [&](uint8_t* codes) {
            return encode_nibbles(page.rows.data(), stride_, dimensions_, pages[POINTSMAN_BYTES][n], codes);
          });
          if (version->rotation) {
            encode(POINTSMAN_PREFIX, [&](uint8_t* codes) {
              return version->rotation->encode_prefixes(page.rows.data(), stride_, codes);
            });
          }
        }
        if (progress) progress(done += end - first, count);
      });
  write_all(file, l.handles, handles);
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    if (has_coding(header, coding)) write_all(file, l.pages[coding], pages[coding]);
  }
  if (version->rotation) write_all(file, l.rotation, version->rotation->directions());
  write_all(file, l.ends, ends);
  file.commit(kSnapshot, &header, sizeof header, threads_, cancel);
}

std::unique_ptr<Index> Index::open(const std::string& path, unsigned threads, const std::string& backend,
                                   bool verify_rows, const Cancel& cancel, const Progress& progress) {
  InputFile file(path);
  Header h;
  file.read_header(kSnapshot, &h, sizeof h);
  const auto corrupt = [&](const char* why) { return Error(Code::FILE_CORRUPT, path + " " + why); };
  const uint64_t most = file.size() / sizeof(float);  // so that nothing below overflows
  if (h.dimensions < 1 || h.dimensions > kMaxDimensions || h.count > most || h.text_bytes > file.size() ||
      h.rotated > 1 || h.count > h.next_handle || h.next_handle > Directory::kMaxHandles) {
    throw corrupt("has an impossible header");
  }
  const Layout l = lay_out(h);
  if (l.size != h.head.size) throw corrupt("has an impossible header");
  auto index = std::make_unique<Index>(h.dimensions, threads, backend);
  // Without verifying the rows: only the parts that hold something else.
  const auto map = file.map();
  file.verify(verify_rows ? l.rows : l.norms, index->threads_, cancel, progress);

  auto* handles = map->at<uint32_t>(l.handles);
  const auto* norms = map->at<const float>(l.norms);
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    if (!has_coding(h, coding)) continue;
    for (uint64_t i = 0; i < h.count / kCodePage; ++i) {
      const CodePage& page = map->at<const CodePage>(l.pages[coding])[i];
      const bool sane = std::isfinite(page.scale) && page.scale > 0 && page.error >= 0 && page.hat >= 0 &&
                        std::isfinite(page.error + page.hat) && page.norm >= 0;
      if (!sane) throw corrupt("has impossible codes");
    }
  }
  const auto coded = [&](uint32_t coding, uint64_t page) {
    return PageCodes{map->at<uint8_t>(l.codes[coding]) + page * page_bytes(coding, h.dimensions),
                     map->at<CodePage>(l.pages[coding]) + page};
  };
  const auto* ends = map->at<const uint64_t>(l.ends);
  std::vector<std::string_view> ids(h.count);
  for (uint64_t i = 0; i < h.count; ++i) {
    const uint64_t begin = i == 0 ? 0 : ends[i - 1];
    if (ends[i] <= begin || ends[i] > h.text_bytes) throw corrupt("has impossible ids");
    if (!(norms[i] >= 0 && norms[i] <= 0x1p64f)) throw corrupt("has impossible norms");
    if (handles[i] >= h.next_handle) throw corrupt("has impossible handles");
    ids[i] = {map->at<char>(l.text) + begin, static_cast<size_t>(ends[i] - begin)};
  }

  auto version = std::make_shared<Version>();
  version->number = 1;
  version->live = h.count;
  version->next_handle = h.next_handle;
  if (h.rotated == 1) {
    version->rotation = Rotation::restore(h.dimensions, map->at<const double>(l.rotation));
    if (!version->rotation) throw corrupt("has an impossible rotation");
  }
  std::vector<Location> rows(h.count);
  for (uint64_t start = 0; start < h.count; start += kBlockRows) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(kBlockRows, h.count - start));
    const auto slot = static_cast<uint32_t>(version->extents.size());
    Extent extent;
    extent.block = std::make_shared<Block>(count, map->at<float>(l.rows) + start * index->stride_,
                                           map->at<float>(l.norms) + start, handles + start,
                                           coded(POINTSMAN_BYTES, start / kCodePage),
                                           coded(POINTSMAN_NIBBLES, start / kCodePage), map);
    extent.rows = count;
    if (h.rotated == 1) {
      extent.prefixes = std::make_shared<Prefixes>(coded(POINTSMAN_PREFIX, start / kCodePage));
    }
    version->extents.push_back(std::move(extent));
    for (uint32_t row = 0; row < count; ++row) rows[start + row] = {slot, row};
  }
  index->state_->directory->restore(ids, {handles, h.count}, rows, h.next_handle, map);
  index->state_->publish(std::move(version));
  return index;
}

}  // namespace pointsman
