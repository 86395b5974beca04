// A file that is there whole or not at all.
#pragma once

#include <cstdint>
#include <string>

namespace pointsman {

// Throws FILE_IO with what `errno` tells.
[[noreturn]] void fail_io(const std::string& what, const std::string& path);

// Written under a temporary name in the folder where it is to be, and gone unless committed: what was at the
// path before stays until then. All throw FILE_IO, which a full disk is, too.
class DurableFile {
 public:
  explicit DurableFile(const std::string& path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(uint64_t offset, const void* data, uint64_t bytes);
  // Syncs and renames; nothing may be written afterwards.
  void commit();

  // For reading what was written.
  int descriptor() const { return fd_; }
  const std::string& temporary() const { return temporary_; }

 private:
  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace pointsman
