#include "fare/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <cstring>

#include "fare/checkpoint/tensor_view.h"
#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

std::vector<TensorInfo> lay_out(const std::vector<TensorDeclaration>& tensors, const std::string& path) {
  std::vector<TensorInfo> layout;
  for (const auto& tensor : tensors) layout.push_back({tensor.name, tensor.dtype, tensor.shape, 0, 0});
  std::sort(layout.begin(), layout.end(), [](const TensorInfo& a, const TensorInfo& b) {
    const int bits_a = dtype_bits(a.dtype), bits_b = dtype_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  size_t offset = 0;
  for (auto& tensor : layout) {
    FARE_CHECK(tensor.name != "__metadata__", "that name is reserved by the format");
    tensor.begin = offset;
    try {
      offset += tensor_num_bytes(tensor.dtype, tensor.shape, path, "tensor '" + tensor.name + "'");
    } catch (const FormatError& error) {
      throw BrokenInvariant(error.what());
    }
    tensor.end = offset;
  }
  return layout;
}

// Header length, header, padding: everything in front of the data.
std::string preamble(const std::vector<TensorInfo>& layout, const SafetensorsWriter::Metadata& metadata) {
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& tensor : layout)
    header[tensor.name] = {{"dtype", std::string(dtype_name(tensor.dtype))},
                           {"shape", tensor.shape},
                           {"data_offsets", {tensor.begin, tensor.end}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, const std::vector<TensorDeclaration>& tensors,
                                     const Metadata& metadata)
    : layout_(lay_out(tensors, path.string())) {
  const std::string front = preamble(layout_, metadata);
  for (const auto& tensor : layout_) {
    const size_t begin = front.size() + tensor.begin;
    const bool is_new = cursors_.emplace(tensor.name, Cursor{begin, front.size() + tensor.end, begin}).second;
    FARE_CHECK(is_new, "tensor '" + tensor.name + "' is declared twice");
  }
  const size_t total = front.size() + (layout_.empty() ? 0 : layout_.back().end);
  file_ = std::make_unique<PlacedFile>(std::move(path), total);
  file_->write(0, front.data(), front.size());
}

void SafetensorsWriter::append(const std::string& name, const void* data, size_t num_bytes) {
  const auto found = cursors_.find(name);
  FARE_CHECK(found != cursors_.end(), file_->path().string() + ": tensor '" + name + "' was not declared");
  Cursor& cursor = found->second;
  FARE_CHECK(num_bytes <= cursor.end - cursor.next,
             file_->path().string() + ": tensor '" + name + "' was declared with " +
                 std::to_string(cursor.end - cursor.begin) + " bytes, more were given");
  file_->write(cursor.next, data, num_bytes);
  cursor.next += num_bytes;
}

void SafetensorsWriter::commit() {
  for (const auto& tensor : layout_) {
    const Cursor& cursor = cursors_.at(tensor.name);
    FARE_CHECK(cursor.next == cursor.end, file_->path().string() + ": tensor '" + tensor.name + "' has " +
                                              std::to_string(cursor.next - cursor.begin) + " of " +
                                              std::to_string(cursor.end - cursor.begin) + " bytes");
  }
  file_->commit();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorData>& tensors,
                       const SafetensorsWriter::Metadata& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, declarations, metadata);
  for (const auto& tensor : tensors) writer.append(tensor.name, tensor.bytes.data(), tensor.bytes.size());
  writer.commit();
}

}  // namespace fare
