// A file of known size whose bytes arrive in any order, and which appears complete or not at all.
#pragma once

#include <cstddef>
#include <filesystem>

namespace fare {

class PlacedFile {
 public:
  // Opens a temporary file beside `path` with room for `num_bytes`. Throws IoError naming the path (missing folder, no
  // permission, full disk).
  PlacedFile(std::filesystem::path path, size_t num_bytes);
  ~PlacedFile();  // without commit() the temporary file is removed
  PlacedFile(const PlacedFile&) = delete;
  PlacedFile& operator=(const PlacedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Writes at a byte offset; different places may be written from different threads. Bytes never written are zero.
  // Throws IoError; BrokenInvariant where the bytes reach past the end.
  void write(size_t offset, const void* data, size_t num_bytes);

  // Puts the file in place, replacing an older one of that name. Throws IoError.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  size_t num_bytes_;
  int fd_ = -1;
};

}  // namespace fare
