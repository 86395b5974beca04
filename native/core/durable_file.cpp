#include "pointsman/durable_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "pointsman/error.hpp"

namespace pointsman {

void fail_io(const std::string& what, const std::string& path) {
  throw Error(Code::FILE_IO, what + " " + path + ": " + std::strerror(errno));
}

DurableFile::DurableFile(const std::string& path) : path_(path) {
  static std::atomic<uint32_t> number{0};
  // A process that was killed may have left files under the names of one with the same number: the next name,
  // then.
  do {
    temporary_ = path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(number++);
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) fail_io("cannot write", temporary_);
}

DurableFile::~DurableFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void DurableFile::write(uint64_t offset, const void* data, uint64_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, p, std::min<uint64_t>(bytes, 1 << 30), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_io("cannot write", temporary_);
    p += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<uint64_t>(put);
  }
}

void DurableFile::commit() {
  if (fsync(fd_) != 0) fail_io("cannot sync", temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io("cannot rename to", path_);
  ::close(fd_);
  fd_ = -1;
  // The rename itself must survive a power cut.
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    ::close(directory);
  }
}

}  // namespace pointsman
