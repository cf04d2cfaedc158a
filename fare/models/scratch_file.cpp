#include "fare/models/scratch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "fare/core/error.h"

namespace fare {
namespace {

// Opens a file in `folder` that has no name, or takes its name away.
int open_unnamed(const std::filesystem::path& folder) {
  if (const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); file >= 0) return file;
  const std::string pattern = (folder / "fare-scratch-XXXXXX").string();
  std::vector<char> name(pattern.begin(), pattern.end());
  name.push_back('\0');
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file >= 0) ::unlink(name.data());
  return file;
}

// The error number, 0 on success. A file beyond the limit of the process would otherwise end it with a signal.
int reserve(int file, int64_t bytes) {
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &before);
  const int failure = ::posix_fallocate(file, 0, bytes);
  ::sigaction(SIGXFSZ, &before, nullptr);
  return failure;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, int64_t bytes)
    : bytes_(std::max<int64_t>(bytes, kAlignment)) {
  const int file = open_unnamed(folder);
  int failure = file < 0 ? errno : reserve(file, bytes_);
  if (failure == 0) {
    void* address = ::mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) failure = errno;
    else data_ = static_cast<std::byte*>(address);
  }
  if (file >= 0) ::close(file);  // the mapping keeps it
  if (failure != 0)
    throw IoError(folder.string() + ": no room for a scratch file of " + std::to_string((bytes_ >> 20) + 1) +
                  " MB: " + std::strerror(failure));
}

ScratchFile::~ScratchFile() { ::munmap(data_, static_cast<size_t>(bytes_)); }

at::Tensor ScratchFile::keep(const at::Tensor& value) {
  const int64_t bytes = room_for(static_cast<int64_t>(value.nbytes()));
  FARE_CHECK(used_ + bytes <= bytes_, "a scratch file is used beyond its room");
  at::Tensor kept = at::from_blob(data_ + used_, value.sizes(), value.options());
  kept.copy_(value);
  used_ += bytes;
  return kept;
}

}  // namespace fare
