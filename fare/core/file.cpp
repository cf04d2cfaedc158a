#include "fare/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "fare/core/error.h"

namespace fare {
namespace {

std::string reason() { return std::strerror(errno); }

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw IoError(path.string() + ": is a folder, not a file");
  if (path.extension() == ".gz") {
    if (!std::filesystem::exists(path, ignored)) throw IoError(path.string() + ": no such file");
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) throw IoError(path.string() + ": cannot be opened: " + reason());
    std::string text;
    char buffer[1 << 16];
    int got = 0;
    while ((got = gzread(file, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(got));
    int code = Z_OK;
    gzerror(file, &code);
    gzclose(file);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
      throw FormatError(path.string(), "", "the gzip data is damaged or cut short; copy the file again");
    return text;
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(path.string() + ": cannot be opened: " + reason());
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) throw IoError(path.string() + ": cannot be read: " + reason());
  return text;
}

std::filesystem::path with_gz_fallback(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) return path;
  std::filesystem::path packed = path;
  packed += ".gz";
  return std::filesystem::exists(packed) ? packed : path;
}

void for_each_line(std::string_view text, const std::function<void(std::string_view, size_t)>& use) {
  size_t number = 1;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    use(line, number++);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw IoError(path.string() + ": cannot be opened: " + reason());
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw IoError(path.string() + ": is not a regular file");
  }
  num_bytes_ = static_cast<size_t>(info.st_size);
  if (num_bytes_ > 0) {
    void* address = ::mmap(nullptr, num_bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      const std::string why = reason();
      ::close(fd);
      throw IoError(path.string() + ": cannot be mapped into memory: " + why);
    }
    data_ = static_cast<const std::byte*>(address);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), num_bytes_);
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += ".part-" + std::to_string(::getpid());
  out_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!out_) throw IoError(path_.string() + ": cannot be written: " + reason());
}

AtomicFile::~AtomicFile() {
  if (committed_) return;
  out_.close();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void AtomicFile::write(std::string_view bytes) {
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out_) throw IoError(path_.string() + ": cannot be written: " + reason());
}

void AtomicFile::commit() {
  out_.close();
  if (!out_) throw IoError(path_.string() + ": cannot be written: " + reason());
  std::error_code error;
  std::filesystem::rename(temporary_, path_, error);
  if (error) throw IoError(path_.string() + ": cannot be put in place: " + error.message());
  committed_ = true;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace fare
