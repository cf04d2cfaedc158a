#include "fare/core/placed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fare/core/error.h"

namespace fare {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what, int code) {
  throw IoError(path.string() + ": " + what + ": " + std::strerror(code));
}

}  // namespace

PlacedFile::PlacedFile(std::filesystem::path path, size_t num_bytes) : path_(std::move(path)), num_bytes_(num_bytes) {
  temporary_ = path_;
  temporary_ += ".part-" + std::to_string(::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(path_, "cannot be written", errno);
  // A full disk is found now, not after hours of work. Sparse file systems that cannot reserve space only get the size.
  const int code = num_bytes == 0 ? 0 : ::posix_fallocate(fd_, 0, static_cast<off_t>(num_bytes));
  const bool full = code == ENOSPC || code == EFBIG || code == EDQUOT;
  if (full || (code != 0 && ::ftruncate(fd_, static_cast<off_t>(num_bytes)) != 0)) {
    const int reason = full ? code : errno;
    ::close(fd_);
    ::unlink(temporary_.c_str());
    fail(path_, "cannot be written: " + std::to_string(num_bytes) + " bytes are needed", reason);
  }
}

PlacedFile::~PlacedFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void PlacedFile::write(size_t offset, const void* data, size_t num_bytes) {
  FARE_CHECK(fd_ >= 0, path_.string() + ": already committed");
  FARE_CHECK(offset <= num_bytes_ && num_bytes <= num_bytes_ - offset, path_.string() + ": a write past the end");
  const char* next = static_cast<const char*>(data);
  while (num_bytes > 0) {
    const ssize_t written = ::pwrite(fd_, next, num_bytes, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(path_, "cannot be written", written < 0 ? errno : ENOSPC);
    next += written;
    offset += static_cast<size_t>(written);
    num_bytes -= static_cast<size_t>(written);
  }
}

void PlacedFile::commit() {
  FARE_CHECK(fd_ >= 0, path_.string() + ": already committed");
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    fail(path_, "cannot be put in place", code);
  }
}

}  // namespace fare
