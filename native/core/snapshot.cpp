// Index: save and open.
//
// A snapshot is one little-endian file:
//   header   4096 bytes: struct Header, then zeros
//   rows     count × stride float32, by falling norm, zero-padded
//   norms    count float32          (each section starts at a multiple of 64)
//   handles  count uint32
//   bytes    of each whole 1024 rows the codes and then the CodePages, see codes.hpp
//   nibbles  the same
//   prefix   the same, and the rotation, where the index has one (rotation.hpp)
//   ends     count uint64: end of each id in `text`
//   text     the ids, UTF-8, one after another
//   sums     one hash64 for each started 4 MiB of [rows, sums)
// The header holds a hash of `sums` and one of itself, so that every byte is covered; what it covers is
// verified when the file is opened. Files are written to a temporary name, synced and renamed, so a snapshot
// is whole or not there.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "core/state.hpp"
#include "pointsman/durable_file.hpp"
#include "pointsman/hash.hpp"
#include "pointsman/kernels.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

static_assert(std::endian::native == std::endian::little, "snapshots are little-endian");

constexpr char kMagic[8] = {'P', 'O', 'I', 'N', 'T', 'S', 'M', 'N'};
constexpr uint32_t kFormat = 3;
constexpr size_t kHeaderBytes = 4096;
constexpr size_t kSumBytes = size_t{4} << 20;

struct Header {
  char magic[8];
  uint32_t format;
  uint32_t dimensions;
  uint32_t stride;
  uint32_t next_handle;
  uint64_t count;
  uint64_t rotated;  // 1: there are prefixes
  // Offsets; the file's size.
  uint64_t rows, norms, handles;
  uint64_t codes[POINTSMAN_CODINGS], pages[POINTSMAN_CODINGS];
  uint64_t rotation, ends, text, sums, size;
  uint64_t text_bytes;
  uint64_t sums_hash;
  uint64_t header_hash;  // of all before it
};
static_assert(sizeof(Header) <= kHeaderBytes);

uint64_t hash_header(const Header& header) { return hash64(&header, offsetof(Header, header_hash)); }

uint64_t align64(uint64_t offset) { return (offset + 63) / 64 * 64; }

// The offsets that follow from the counts; a header must hold these and no others.
Header lay_out(uint32_t dimensions, uint32_t stride, uint32_t next_handle, uint64_t count,
               uint64_t text_bytes, bool rotated) {
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.format = kFormat;
  h.dimensions = dimensions;
  h.stride = stride;
  h.next_handle = next_handle;
  h.count = count;
  h.text_bytes = text_bytes;
  h.rotated = rotated;
  const uint64_t pages = count / kCodePage;
  uint64_t end = kHeaderBytes;
  const auto section = [&](uint64_t bytes) {
    const uint64_t start = align64(end);
    end = start + bytes;
    return start;
  };
  h.rows = section(count * stride * sizeof(float));
  h.norms = section(count * sizeof(float));
  h.handles = section(count * sizeof(uint32_t));
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    const uint64_t coded = coding == POINTSMAN_PREFIX && !rotated ? 0 : pages;
    h.codes[coding] = section(coded * page_bytes(coding, dimensions));
    h.pages[coding] = section(coded * sizeof(CodePage));
  }
  h.rotation = section(rotated ? Rotation::values(dimensions) * sizeof(double) : 0);
  h.ends = section(count * sizeof(uint64_t));
  h.text = section(text_bytes);
  h.sums = align64(end);
  h.size = h.sums + (h.sums - h.rows + kSumBytes - 1) / kSumBytes * sizeof(uint64_t);
  return h;
}

// Writes a file in order, hashing each 4 MiB as it passes.
class Writer {
 public:
  explicit Writer(const std::string& path) : file_(path) { buffer_.reserve(kSumBytes); }

  uint64_t offset() const { return kHeaderBytes + passed_ + buffer_.size(); }

  void add(const void* data, size_t bytes) {
    const char* p = static_cast<const char*>(data);
    while (bytes > 0) {
      const size_t take = std::min(bytes, kSumBytes - buffer_.size());
      buffer_.insert(buffer_.end(), p, p + take);
      p += take;
      bytes -= take;
      if (buffer_.size() == kSumBytes) flush();
    }
  }
  void pad_to(uint64_t target) {
    static constexpr char zeros[64] = {};
    while (offset() < target) add(zeros, std::min<uint64_t>(64, target - offset()));
  }

  void finish(Header header) {
    pad_to(header.sums);
    flush();
    const size_t bytes = sums_.size() * sizeof(uint64_t);
    file_.write(header.sums, sums_.data(), bytes);
    header.sums_hash = hash64(sums_.data(), bytes);
    header.header_hash = hash_header(header);
    char block[kHeaderBytes] = {};
    std::memcpy(block, &header, sizeof header);
    file_.write(0, block, sizeof block);
    file_.commit();
  }

 private:
  void flush() {
    if (buffer_.empty()) return;
    sums_.push_back(hash64(buffer_.data(), buffer_.size()));
    file_.write(kHeaderBytes + passed_, buffer_.data(), buffer_.size());
    passed_ += buffer_.size();
    buffer_.clear();
  }

  DurableFile file_;
  std::vector<char> buffer_;
  std::vector<uint64_t> sums_;
  uint64_t passed_ = 0;
};

struct Mapping {
  explicit Mapping(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_io("cannot read", path);
    struct stat info;
    const bool plain = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    bytes = plain ? static_cast<size_t>(info.st_size) : 0;
    if (bytes < kHeaderBytes) {
      ::close(fd);
      throw plain ? Error(Code::FILE_CORRUPT, path + " is too short to be a snapshot")
                  : Error(Code::FILE_IO, path + " is not a file");
    }
    void* p = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (p == MAP_FAILED) fail_io("cannot map", path);
    data = static_cast<char*>(p);
  }
  ~Mapping() { munmap(data, bytes); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  template <typename T>
  T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(data + offset);
  }

  char* data = nullptr;
  size_t bytes = 0;
};

Header checked_header(const Mapping& file, const std::string& path) {
  Header h;
  std::memcpy(&h, file.data, sizeof h);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0)
    throw Error(Code::FILE_VERSION, path + " is not a snapshot");
  if (h.format != kFormat) {
    throw Error(Code::FILE_VERSION, path + " has the format " + std::to_string(h.format) +
                                        ", this build reads " + std::to_string(kFormat));
  }
  const auto corrupt = [&](const char* why) { return Error(Code::FILE_CORRUPT, path + " " + why); };
  const bool padded =
      std::all_of(file.data + sizeof h, file.data + kHeaderBytes, [](char c) { return c == 0; });
  if (h.header_hash != hash_header(h) || !padded) throw corrupt("has an altered header");
  const uint64_t most = file.bytes / sizeof(float);  // so that nothing below overflows
  if (h.dimensions < 1 || h.dimensions > kMaxDimensions || h.stride != stride_of(h.dimensions) ||
      h.count > most || h.text_bytes > file.bytes || h.count > h.next_handle ||
      h.next_handle > Directory::kMaxHandles) {
    throw corrupt("has an impossible header");
  }
  const Header expected =
      lay_out(h.dimensions, h.stride, h.next_handle, h.count, h.text_bytes, h.rotated == 1);
  if (std::memcmp(&h, &expected, offsetof(Header, sums_hash)) != 0) throw corrupt("has an impossible header");
  if (file.bytes != h.size)
    throw corrupt(file.bytes < h.size ? "is truncated" : "is longer than it should be");
  return h;
}

}  // namespace

void Index::save(const std::string& path, const Cancel& cancel, const Progress& progress) const {
  const auto version = state_->current();
  struct Row {
    uint32_t handle;
    const float* values;
    float norm;
  };
  std::vector<Row> rows;
  rows.reserve(version->live);
  for (const Extent& extent : version->extents) {
    for (uint32_t row = 0; row < extent.rows; ++row) {
      if (extent.is_dead(row)) continue;
      rows.push_back(
          {extent.block->handles[row], extent.block->rows + size_t{row} * stride_, extent.block->norms[row]});
    }
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.norm != b.norm ? a.norm > b.norm : a.handle < b.handle;
  });

  std::vector<uint32_t> handles(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) handles[i] = rows[i].handle;
  std::vector<std::string_view> ids(rows.size());
  state_->directory->texts(handles, ids.data());
  std::vector<uint64_t> ends(rows.size());
  uint64_t text_bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) ends[i] = text_bytes += ids[i].size();

  const Header header = lay_out(dimensions_, stride_, version->next_handle, rows.size(), text_bytes,
                                version->rotation != nullptr);
  Writer writer(path);
  for (size_t i = 0; i < rows.size(); ++i) {
    writer.add(rows[i].values, stride_ * sizeof(float));
    if (i % 4096 == 0) {
      cancel.check();
      if (progress) progress(i, rows.size());
    }
  }
  writer.pad_to(header.norms);
  for (const Row& row : rows) writer.add(&row.norm, sizeof row.norm);
  writer.pad_to(header.handles);
  writer.add(handles.data(), handles.size() * sizeof(uint32_t));
  // Pages are cut anew, so they are encoded anew.
  std::vector<float> page_rows(size_t{kCodePage} * stride_), page_norms(kCodePage);
  const auto encode_pages = [&](uint32_t coding, const auto& encode) {
    writer.pad_to(header.codes[coding]);
    std::vector<uint8_t> codes(page_bytes(coding, dimensions_));
    std::vector<CodePage> pages;
    for (size_t first = 0; first + kCodePage <= rows.size(); first += kCodePage) {
      cancel.check();
      for (size_t i = 0; i < kCodePage; ++i) {
        std::memcpy(page_rows.data() + i * stride_, rows[first + i].values, stride_ * sizeof(float));
        page_norms[i] = rows[first + i].norm;
      }
      pages.push_back(encode(first, codes.data()));
      writer.add(codes.data(), codes.size());
    }
    writer.pad_to(header.pages[coding]);
    writer.add(pages.data(), pages.size() * sizeof(CodePage));
    return pages;
  };
  const std::vector<CodePage> byte_pages = encode_pages(POINTSMAN_BYTES, [&](size_t first, uint8_t* codes) {
    return encode_bytes(page_rows.data(), stride_, dimensions_, page_norms.data(), handles.data() + first,
                        codes);
  });
  encode_pages(POINTSMAN_NIBBLES, [&](size_t first, uint8_t* codes) {
    return encode_nibbles(page_rows.data(), stride_, dimensions_, byte_pages[first / kCodePage], codes);
  });
  if (const auto& rotation = version->rotation) {
    encode_pages(POINTSMAN_PREFIX, [&](size_t, uint8_t* codes) {
      return rotation->encode_prefixes(page_rows.data(), stride_, codes);
    });
    writer.pad_to(header.rotation);
    writer.add(rotation->directions().data(), rotation->directions().size() * sizeof(double));
  }
  writer.pad_to(header.ends);
  writer.add(ends.data(), ends.size() * sizeof(uint64_t));
  writer.pad_to(header.text);
  for (const std::string_view id : ids) writer.add(id.data(), id.size());
  cancel.check();
  writer.finish(header);
  if (progress) progress(rows.size(), rows.size());
}

std::unique_ptr<Index> Index::open(const std::string& path, unsigned threads, const std::string& backend,
                                   bool verify_rows, const Cancel& cancel, const Progress& progress) {
  const auto file = std::make_shared<const Mapping>(path);
  const Header h = checked_header(*file, path);
  const auto corrupt = [&](const char* why) { return Error(Code::FILE_CORRUPT, path + " " + why); };

  const auto* sums = file->at<const uint64_t>(h.sums);
  const size_t sum_count = (h.size - h.sums) / sizeof(uint64_t);
  if (hash64(sums, sum_count * sizeof(uint64_t)) != h.sums_hash) throw corrupt("was altered");
  auto index = std::make_unique<Index>(h.dimensions, threads, backend);
  // Without verifying the rows: only the parts that hold something else.
  const size_t first_sum = verify_rows ? 0 : (h.norms - h.rows) / kSumBytes;
  std::atomic<uint64_t> done{0};
  ThreadPool::shared().parallel_for(sum_count - first_sum, index->threads_, [&](size_t i, unsigned) {
    cancel.check();
    const uint64_t begin = h.rows + (first_sum + i) * kSumBytes;
    const uint64_t end = std::min<uint64_t>(h.sums, begin + kSumBytes);
    if (hash64(file->data + begin, end - begin) != sums[first_sum + i]) throw corrupt("was altered");
    if (progress) progress(++done, sum_count - first_sum);
  });

  auto* handles = file->at<uint32_t>(h.handles);
  const auto* norms = file->at<const float>(h.norms);
  for (uint32_t coding = 0; coding < POINTSMAN_CODINGS; ++coding) {
    if (coding == POINTSMAN_PREFIX && h.rotated != 1) continue;
    for (uint64_t i = 0; i < h.count / kCodePage; ++i) {
      const CodePage& page = file->at<const CodePage>(h.pages[coding])[i];
      const bool sane = std::isfinite(page.scale) && page.scale > 0 && page.error >= 0 && page.hat >= 0 &&
                        std::isfinite(page.error + page.hat) && page.norm >= 0;
      if (!sane) throw corrupt("has impossible codes");
    }
  }
  const auto coded = [&](uint32_t coding, uint64_t page) {
    return PageCodes{file->at<uint8_t>(h.codes[coding]) + page * page_bytes(coding, h.dimensions),
                     file->at<CodePage>(h.pages[coding]) + page};
  };
  const auto* ends = file->at<const uint64_t>(h.ends);
  std::vector<std::string_view> ids(h.count);
  for (uint64_t i = 0; i < h.count; ++i) {
    const uint64_t begin = i == 0 ? 0 : ends[i - 1];
    if (ends[i] <= begin || ends[i] > h.text_bytes) throw corrupt("has impossible ids");
    if (!(norms[i] >= 0 && norms[i] <= 0x1p64f)) throw corrupt("has impossible norms");
    if (handles[i] >= h.next_handle) throw corrupt("has impossible handles");
    ids[i] = {file->data + h.text + begin, static_cast<size_t>(ends[i] - begin)};
  }

  auto version = std::make_shared<Version>();
  version->number = 1;
  version->live = h.count;
  version->next_handle = h.next_handle;
  if (h.rotated == 1) {
    version->rotation = Rotation::restore(h.dimensions, file->at<const double>(h.rotation));
    if (!version->rotation) throw corrupt("has an impossible rotation");
  }
  std::vector<Location> rows(h.count);
  for (uint64_t start = 0; start < h.count; start += kBlockRows) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(kBlockRows, h.count - start));
    const auto slot = static_cast<uint32_t>(version->extents.size());
    Extent extent;
    extent.block = std::make_shared<Block>(
        count, file->at<float>(h.rows) + start * h.stride, file->at<float>(h.norms) + start, handles + start,
        coded(POINTSMAN_BYTES, start / kCodePage), coded(POINTSMAN_NIBBLES, start / kCodePage), file);
    extent.rows = count;
    if (h.rotated == 1) {
      extent.prefixes = std::make_shared<Prefixes>(coded(POINTSMAN_PREFIX, start / kCodePage));
    }
    version->extents.push_back(std::move(extent));
    for (uint32_t row = 0; row < count; ++row) rows[start + row] = {slot, row};
  }
  index->state_->directory->restore(ids, {handles, h.count}, rows, h.next_handle, file);
  index->state_->publish(std::move(version));
  return index;
}

}  // namespace pointsman
