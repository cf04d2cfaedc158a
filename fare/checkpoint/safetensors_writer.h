// Writes safetensors files that appear complete or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "fare/checkpoint/safetensors_header.h"
#include "fare/core/placed_file.h"

namespace fare {

struct TensorDeclaration {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
};

// Declare every tensor, then append their data in any order and in pieces of any size (so rows of many tensors can be
// written as they come), then commit(). Nothing but the piece at hand is in memory.
//
//   SafetensorsWriter writer(path, {{"offsets", Dtype::kI64, {n + 1}}, {"logits", Dtype::kF32, {t, e}}});
//   for (..) writer.append("logits", rows.data(), rows.size() * sizeof(float));
//   writer.append("offsets", offsets.data(), offsets.size() * sizeof(int64_t));
//   writer.commit();
//
// In the file tensors lie by falling element size, then by name in byte order; the header is padded with spaces so that
// the data begin at a multiple of 8, and so every tensor is aligned for its type. Equal input gives equal bytes.
class SafetensorsWriter {
 public:
  using Metadata = std::map<std::string, std::string>;

  // Opens a temporary file beside `path` with room for the data. Throws IoError naming the path (missing folder, no
  // permission, full disk); BrokenInvariant on a name declared twice, "__metadata__" as a name or a shape that
  // overflows. Without commit() the temporary file is removed.
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorDeclaration>& tensors,
                    const Metadata& metadata = {{"format", "pt"}});
  // The tensors in the order of the file; offsets as in its header.
  const std::vector<TensorInfo>& layout() const { return layout_; }

  // Appends bytes to the data of one tensor: row-major, little-endian. Different tensors may be appended to from
  // different threads. Throws IoError (full disk); BrokenInvariant for an undeclared name or more bytes than declared.
  void append(const std::string& name, const void* data, size_t num_bytes);

  // Puts the file in place, replacing an older one of that name. Throws IoError; BrokenInvariant naming the first
  // tensor whose data are not complete.
  void commit();

 private:
  struct Cursor {
    size_t begin, end, next;  // byte offsets of the file
  };

  std::vector<TensorInfo> layout_;
  std::unordered_map<std::string, Cursor> cursors_;
  std::unique_ptr<PlacedFile> file_;
};

struct TensorData {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // borrowed: must outlive the call
};

// All at once, when the data are in memory anyway: `std::as_bytes(std::span(values))`.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorData>& tensors,
                       const SafetensorsWriter::Metadata& metadata = {{"format", "pt"}});

}  // namespace fare
