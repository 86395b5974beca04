// Files that are there whole or not at all, every byte under a checksum: snapshots, interactions,
// checkpoints. Layout of each: a header of 4096 bytes, sections, and one hash64 for each started 4 MiB
// between header and sums; the header holds a hash of the sums and one of itself. Little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pointsman/task.hpp"

namespace pointsman {

inline constexpr uint64_t kHeaderBytes = 4096;

struct FileKind {
  char magic[9];
  uint32_t format;
  const char* name;  // "a snapshot"
};

// What every header begins with; its owner's fields follow, the whole within kHeaderBytes.
struct FileHead {
  char magic[8];
  uint32_t format;
  uint32_t reserved;
  uint64_t size;  // of all before the sums
  uint64_t sums_hash;
  uint64_t header_hash;  // of the 4096 bytes with this field 0
};

// Where sections come to lie behind a header: one after another, each at a multiple of 64.
class Sections {
 public:
  uint64_t add(uint64_t bytes) {
    const uint64_t start = (end_ + 63) / 64 * 64;
    end_ = start + bytes;
    return start;
  }
  uint64_t end() const { return end_; }

 private:
  uint64_t end_ = kHeaderBytes;
};

// Written under a temporary name in the folder where it is to be, and gone unless committed: what was at the
// path before stays until then. All throw FILE_IO, which a full disk is, too; the constructor also for what
// is no file and not to be replaced, and BAD_ARGUMENT for a path with a zero byte.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // May be called on several threads at once. What nobody writes is zero.
  void write(uint64_t offset, const void* data, uint64_t bytes);
  // Sums what was written up to the header's `size`, on so many threads, writes sums and header (`bytes` of
  // it, beginning with a FileHead, whose other fields are set here), syncs, and puts the file in its place.
  void commit(const FileKind& kind, const void* header, size_t bytes, unsigned threads, const Cancel& cancel);

 private:
  std::string path_, temporary_;
  int fd_ = -1;
};

// A file in memory for as long as this lives, never written to.
class FileMap {
 public:
  FileMap(int fd, uint64_t bytes, const std::string& path);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  template <typename T>
  T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  char* data_;
  uint64_t bytes_;
};

class InputFile {
 public:
  // Throws FILE_IO, also for what is no file, and BAD_ARGUMENT for a path with a zero byte.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Throws FILE_CORRUPT where the file ends before. May be called on several threads at once.
  void read(uint64_t offset, void* data, uint64_t bytes) const;
  // Reads the header (`bytes` of it). Throws FILE_VERSION for another magic or format, FILE_CORRUPT.
  void read_header(const FileKind& kind, void* header, size_t bytes);
  // After read_header: compares the sums from that of the offset `from` on, in memory if the file is mapped.
  // Throws FILE_CORRUPT.
  void verify(uint64_t from, unsigned threads, const Cancel& cancel, const Progress& progress) const;
  // Throws FILE_IO. Who cuts a mapped file short ends the process; `read` notices.
  std::shared_ptr<const FileMap> map();

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  uint64_t summed_ = 0;  // the header's size
  std::vector<uint64_t> sums_;
  std::shared_ptr<const FileMap> map_;
};

}  // namespace pointsman
