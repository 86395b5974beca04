#include "pointsman/file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "pointsman/hash.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr uint64_t kSumBytes = uint64_t{4} << 20;
constexpr uint64_t kMostAtOnce = uint64_t{1} << 30;  // of one call to the system

[[noreturn]] void fail_io(const std::string& what, const std::string& path) {
  throw Error(Code::FILE_IO, what + " " + path + ": " + std::strerror(errno));
}

// The system would end it at a zero byte: at another file.
const std::string& whole(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    throw Error(Code::BAD_ARGUMENT, "a path must not hold a zero byte");
  return path;
}

// False at the end of the file.
bool read_all(int fd, uint64_t offset, void* data, uint64_t bytes, const std::string& path) {
  char* p = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, p, std::min(bytes, kMostAtOnce), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_io("cannot read", path);
    if (got == 0) return false;
    p += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

uint64_t sum_count(uint64_t size) { return (size - kHeaderBytes + kSumBytes - 1) / kSumBytes; }

// Calls body(i, sum) for each sum from `first` on, on several threads. piece(offset, bytes, slot) gives the
// bytes there.
template <typename Piece, typename Body>
void each_sum(uint64_t size, uint64_t first, unsigned threads, const Cancel& cancel, const Piece& piece,
              const Body& body) {
  ThreadPool::shared().parallel_for(sum_count(size) - first, threads, [&](size_t i, unsigned slot) {
    cancel.check();
    const uint64_t at = kHeaderBytes + (first + i) * kSumBytes, bytes = std::min(kSumBytes, size - at);
    body(first + i, hash64(piece(at, bytes, slot), bytes));
  });
}

// Pieces of a file that is not mapped.
class Pieces {
 public:
  Pieces(int fd, const std::string& path, unsigned threads) : fd_(fd), path_(path), buffers_(threads) {}

  const char* operator()(uint64_t offset, uint64_t bytes, unsigned slot) const {
    std::vector<char>& buffer = buffers_[slot];
    buffer.resize(kSumBytes);
    if (!read_all(fd_, offset, buffer.data(), bytes, path_))
      throw Error(Code::FILE_CORRUPT, path_ + " is truncated");
    return buffer.data();
  }

 private:
  int fd_;
  const std::string& path_;
  mutable std::vector<std::vector<char>> buffers_;
};

// With the hash's own field, which is to be 0, as anything.
uint64_t hash_header(const char (&block)[kHeaderBytes]) {
  char copy[kHeaderBytes];
  std::memcpy(copy, block, kHeaderBytes);
  std::memset(copy + offsetof(FileHead, header_hash), 0, sizeof(uint64_t));
  return hash64(copy, kHeaderBytes);
}

}  // namespace

OutputFile::OutputFile(const std::string& path) : path_(whole(path)) {
  struct stat before {};
  const bool replaces = ::stat(path.c_str(), &before) == 0;
  if (replaces && !S_ISREG(before.st_mode))
    throw Error(Code::FILE_IO, "cannot write " + path + ": it is a folder, a device or a pipe");
  static std::atomic<uint32_t> number{0};
  // A process that was killed may have left files under the names of one with the same number: the next name,
  // then.
  do {
    temporary_ = path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(number++);
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) fail_io("cannot write", temporary_);
  if (replaces) fchmod(fd_, before.st_mode & 0777);  // best effort: who may read it stays as it was
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void OutputFile::write(uint64_t offset, const void* data, uint64_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, p, std::min(bytes, kMostAtOnce), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_io("cannot write", temporary_);
    p += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<uint64_t>(put);
  }
}

void OutputFile::commit(const FileKind& kind, const void* header, size_t bytes, unsigned threads,
                        const Cancel& cancel) {
  char block[kHeaderBytes] = {};
  std::memcpy(block, header, bytes);
  FileHead head;
  std::memcpy(&head, block, sizeof head);
  std::memcpy(head.magic, kind.magic, sizeof head.magic);
  head.format = kind.format;
  if (ftruncate(fd_, static_cast<off_t>(head.size)) != 0) fail_io("cannot write", temporary_);
  std::vector<uint64_t> sums(sum_count(head.size));
  each_sum(head.size, 0, threads, cancel, Pieces(fd_, temporary_, threads),
           [&](size_t i, uint64_t sum) { sums[i] = sum; });
  write(head.size, sums.data(), sums.size() * sizeof(uint64_t));
  head.sums_hash = hash64(sums.data(), sums.size() * sizeof(uint64_t));
  std::memcpy(block, &head, sizeof head);
  head.header_hash = hash_header(block);
  std::memcpy(block, &head, sizeof head);
  write(0, block, kHeaderBytes);

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

FileMap::FileMap(int fd, uint64_t bytes, const std::string& path) : bytes_(bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) fail_io("cannot map", path);
  data_ = static_cast<char*>(p);
}

FileMap::~FileMap() { munmap(data_, bytes_); }

InputFile::InputFile(const std::string& path) : path_(whole(path)) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would wait for somebody to write
  struct stat found {};
  if (fd_ < 0) fail_io("cannot read", path);
  if (fstat(fd_, &found) != 0 || !S_ISREG(found.st_mode)) {
    ::close(fd_);
    throw Error(Code::FILE_IO, path + " is not a file");
  }
  size_ = static_cast<uint64_t>(found.st_size);
}

InputFile::~InputFile() { ::close(fd_); }

void InputFile::read(uint64_t offset, void* data, uint64_t bytes) const {
  if (!read_all(fd_, offset, data, bytes, path_)) throw Error(Code::FILE_CORRUPT, path_ + " is truncated");
}

void InputFile::read_header(const FileKind& kind, void* header, size_t bytes) {
  char block[kHeaderBytes] = {};
  read(0, block, std::min(size_, kHeaderBytes));
  FileHead head;
  std::memcpy(&head, block, sizeof head);
  // What is there of a magic that was cut off is its own.
  if (std::memcmp(head.magic, kind.magic, std::min<uint64_t>(size_, sizeof head.magic)) != 0)
    throw Error(Code::FILE_VERSION, path_ + " is not " + kind.name);
  const auto corrupt = [&](const char* why) { return Error(Code::FILE_CORRUPT, path_ + " " + why); };
  if (size_ < kHeaderBytes) throw corrupt("is truncated");
  if (head.format != kind.format) {
    throw Error(Code::FILE_VERSION, path_ + " has the format " + std::to_string(head.format) +
                                        ", this build reads " + std::to_string(kind.format));
  }
  if (hash_header(block) != head.header_hash) throw corrupt("has an altered header");
  const uint64_t expected = head.size < kHeaderBytes || head.size > size_
                                ? UINT64_MAX
                                : head.size + sum_count(head.size) * sizeof(uint64_t);
  if (size_ != expected) throw corrupt(size_ < expected ? "is truncated" : "is longer than it should be");
  sums_.resize(sum_count(head.size));
  read(head.size, sums_.data(), sums_.size() * sizeof(uint64_t));
  if (hash64(sums_.data(), sums_.size() * sizeof(uint64_t)) != head.sums_hash) throw corrupt("was altered");
  summed_ = head.size;
  std::memcpy(header, block, bytes);
}

void InputFile::verify(uint64_t from, unsigned threads, const Cancel& cancel,
                       const Progress& progress) const {
  const uint64_t first = (std::max(from, kHeaderBytes) - kHeaderBytes) / kSumBytes;
  std::atomic<uint64_t> done{0};
  const auto compare = [&](size_t i, uint64_t sum) {
    if (sum != sums_[i]) throw Error(Code::FILE_CORRUPT, path_ + " was altered");
    if (progress) progress(++done, sums_.size() - first);
  };
  if (map_) {
    const auto piece = [&](uint64_t at, uint64_t, unsigned) { return map_->at<const char>(at); };
    each_sum(summed_, first, threads, cancel, piece, compare);
  } else {
    each_sum(summed_, first, threads, cancel, Pieces(fd_, path_, threads), compare);
  }
}

std::shared_ptr<const FileMap> InputFile::map() {
  if (!map_) map_ = std::make_shared<const FileMap>(fd_, size_, path_);
  return map_;
}

}  // namespace pointsman
