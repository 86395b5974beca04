// Files of the solvers, larger than memory or not: written whole or not at all, read in pieces, every byte
// under a checksum. Layout of each: a header of 4096 bytes, sections, and one hash64 for each started 4 MiB
// between header and sums; the header holds a hash of the sums and one of itself. Little-endian.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "pointsman/durable_file.hpp"
#include "pointsman/task.hpp"

namespace pointsman::train {

inline constexpr uint64_t kHeaderBytes = 4096;

// What every header begins with; its owner's fields follow, the whole within kHeaderBytes.
struct FileHead {
  char magic[8];
  uint32_t format;
  uint32_t reserved;
  uint64_t size;  // of all before the sums
  uint64_t sums_hash;
  uint64_t header_hash;  // of the 4096 bytes with this field 0
};

// All throw FILE_IO; what was at the path before stays unless `commit`ted.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : file_(path) {}

  void write(uint64_t offset, const void* data, uint64_t bytes) { file_.write(offset, data, bytes); }
  // Sums what was written up to `header.size`, writes sums and header (`bytes` of it, beginning with a
  // FileHead), and puts the file in its place.
  void commit(void* header, size_t bytes, const Cancel& cancel);

 private:
  DurableFile file_;
};

class InputFile {
 public:
  // Throws FILE_IO.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Throws FILE_CORRUPT where the file ends before. May be called on several threads at once.
  void read(uint64_t offset, void* data, uint64_t bytes) const;
  // Reads the header (`bytes` of it) and verifies that and every checksum. Throws FILE_VERSION for another
  // magic or format, FILE_CORRUPT.
  void verify(void* header, size_t bytes, const char (&magic)[9], uint32_t format, const Cancel& cancel,
              const Progress& progress) const;

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace pointsman::train
