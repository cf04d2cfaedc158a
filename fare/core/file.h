// Files: whole reads (gzip transparent), memory maps, and writes that appear complete or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace fare {

// The whole file; a `.gz` name is unpacked. Throws IoError naming the path if it cannot be read, FormatError if the
// gzip stream is damaged.
std::string read_file(const std::filesystem::path& path);

// `path` if it exists, else `path` + ".gz" if that exists, else `path` unchanged.
std::filesystem::path with_gz_fallback(const std::filesystem::path& path);

// Calls `use(line, number)` for every line of `text` (numbers from 1; "\r\n" and a missing last newline accepted; a
// trailing empty line is not reported).
void for_each_line(std::string_view text, const std::function<void(std::string_view line, size_t number)>& use);

// A file mapped read-only. The bytes stay valid as long as the object lives.
class MappedFile {
 public:
  // Throws IoError naming the path.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, num_bytes_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t num_bytes_ = 0;
};

// Writes beside the final name and renames on commit(); without commit() the temporary file is removed.
class AtomicFile {
 public:
  // Throws IoError (folder missing, read-only, ..) naming the path.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  // Flushes, checks for a full disk, renames. Throws IoError naming the path.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::ofstream out_;
  bool committed_ = false;
};

void write_file(const std::filesystem::path& path, std::string_view bytes);  // AtomicFile in one call

}  // namespace fare
