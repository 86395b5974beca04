#include "train/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "pointsman/hash.hpp"

namespace pointsman::train {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr uint64_t kSumBytes = uint64_t{4} << 20;

// False at the end of the file.
bool read_all(int fd, uint64_t offset, void* data, uint64_t bytes, const std::string& path) {
  char* p = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, p, std::min<uint64_t>(bytes, 1 << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_io("cannot read", path);
    if (got == 0) return false;
    p += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

std::vector<uint64_t> sums_of(int fd, uint64_t size, const std::string& path, const Cancel& cancel,
                              const Progress& progress) {
  std::vector<uint64_t> sums;
  std::vector<char> piece(kSumBytes);
  for (uint64_t at = kHeaderBytes; at < size; at += kSumBytes) {
    cancel.check();
    const uint64_t bytes = std::min(kSumBytes, size - at);
    if (!read_all(fd, at, piece.data(), bytes, path)) throw Error(Code::FILE_CORRUPT, path + " is truncated");
    sums.push_back(hash64(piece.data(), bytes));
    if (progress) progress(at + bytes, size);
  }
  return sums;
}

uint64_t hash_header(char (&block)[kHeaderBytes]) {
  char copy[kHeaderBytes];
  std::memcpy(copy, block, kHeaderBytes);
  std::memset(copy + offsetof(FileHead, header_hash), 0, sizeof(uint64_t));
  return hash64(copy, kHeaderBytes);
}

}  // namespace

void OutputFile::commit(void* header, size_t bytes, const Cancel& cancel) {
  char block[kHeaderBytes] = {};
  std::memcpy(block, header, bytes);
  FileHead head;
  std::memcpy(&head, block, sizeof head);
  if (ftruncate(file_.descriptor(), static_cast<off_t>(head.size)) != 0)
    fail_io("cannot write", file_.temporary());
  const std::vector<uint64_t> sums = sums_of(file_.descriptor(), head.size, file_.temporary(), cancel, {});
  write(head.size, sums.data(), sums.size() * sizeof(uint64_t));
  head.sums_hash = hash64(sums.data(), sums.size() * sizeof(uint64_t));
  std::memcpy(block, &head, sizeof head);
  head.header_hash = hash_header(block);
  std::memcpy(block, &head, sizeof head);
  write(0, block, kHeaderBytes);
  file_.commit();
}

InputFile::InputFile(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat found {};
  if (fd_ < 0) fail_io("cannot read", path);
  if (fstat(fd_, &found) != 0 || !S_ISREG(found.st_mode)) {
    ::close(fd_);
    throw Error(Code::FILE_IO, path + " is no file");
  }
  size_ = static_cast<uint64_t>(found.st_size);
}

InputFile::~InputFile() { ::close(fd_); }

void InputFile::read(uint64_t offset, void* data, uint64_t bytes) const {
  if (!read_all(fd_, offset, data, bytes, path_)) throw Error(Code::FILE_CORRUPT, path_ + " is truncated");
}

void InputFile::verify(void* header, size_t bytes, const char (&magic)[9], uint32_t format,
                       const Cancel& cancel, const Progress& progress) const {
  char block[kHeaderBytes] = {};
  FileHead head{};
  if (size_ >= sizeof head) read(0, &head, sizeof head);
  if (std::memcmp(head.magic, magic, 8) != 0 || head.format != format) {
    throw Error(Code::FILE_VERSION,
                path_ + " is not a file of the format " + std::string(magic) + " " + std::to_string(format));
  }
  if (size_ < kHeaderBytes) throw Error(Code::FILE_CORRUPT, path_ + " is truncated");
  read(0, block, kHeaderBytes);
  if (hash_header(block) != head.header_hash) throw Error(Code::FILE_CORRUPT, path_ + " was altered");
  const uint64_t count = (head.size - kHeaderBytes + kSumBytes - 1) / kSumBytes;
  if (head.size < kHeaderBytes || head.size > size_ || size_ - head.size != count * sizeof(uint64_t))
    throw Error(Code::FILE_CORRUPT, path_ + " is truncated");
  std::vector<uint64_t> sums(count);
  read(head.size, sums.data(), count * sizeof(uint64_t));
  if (hash64(sums.data(), count * sizeof(uint64_t)) != head.sums_hash ||
      sums != sums_of(fd_, head.size, path_, cancel, progress)) {
    throw Error(Code::FILE_CORRUPT, path_ + " was altered");
  }
  std::memcpy(header, block, bytes);
}

}  // namespace pointsman::train
