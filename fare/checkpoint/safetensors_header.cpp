#include "fare/checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <tuple>

#include "fare/checkpoint/tensor_view.h"
#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::string range_text(size_t begin, size_t end) {
  return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
}

// The JSON text of the header, without padding.
std::string_view header_text(std::span<const std::byte> file, const std::string& path) {
  if (file.size() < 8)
    throw FormatError(path, "byte 0",
                      "the file has " + std::to_string(file.size()) +
                          " bytes; a safetensors file begins with 8 bytes of header length (empty or cut short?)");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > kMaxHeaderBytes)
    throw FormatError(path, "byte 0",
                      "the header length " + std::to_string(length) + " is above the limit of " +
                          std::to_string(kMaxHeaderBytes) + " bytes; this is not a safetensors file");
  if (length > file.size() - 8)
    throw FormatError(path, "byte 0",
                      "the header of " + std::to_string(length) + " bytes reaches past the end of the file (" +
                          std::to_string(file.size()) + " bytes); the file is cut short, copy it again");
  std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, static_cast<size_t>(length));
  if (text.empty() || text.front() != '{')
    throw FormatError(path, "byte 8", "the header does not begin with '{'; this is not a safetensors file");
  const size_t last = text.find_last_not_of(' ');
  if (text[last] != '}')
    throw FormatError(path, "byte " + std::to_string(8 + last),
                      "the header does not end with '}' and padding spaces; only spaces (0x20) may follow the JSON");
  // The JSON reader takes a zero byte for the end of the text.
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos)
    throw FormatError(path, "byte " + std::to_string(8 + zero), "the header holds a zero byte");
  return text.substr(0, last + 1);
}

std::map<std::string, std::string> parse_metadata(const Json& value, const std::string& path) {
  if (!value.is_object()) throw FormatError(path, "__metadata__", "must be an object, found " + value.dump());
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      throw FormatError(path, "__metadata__", "the value of '" + key + "' must be a string, found " + text.dump());
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

const Json& field(const Json& entry, const char* key, const std::string& path, const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end()) throw FormatError(path, where, "field '" + std::string(key) + "' is missing");
  return *found;
}

// A non-negative integer below 2^63. `what` names it in the error.
int64_t natural(const Json& value, const std::string& what, const std::string& path, const std::string& where) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()})
    return value.get<int64_t>();
  throw FormatError(path, where, what + " must be a non-negative integer below 2^63, found " + value.dump());
}

TensorInfo parse_tensor(const std::string& name, const Json& entry, const std::string& path) {
  const std::string where = "tensor '" + name + "'";
  if (!entry.is_object()) throw FormatError(path, where, "must be an object, found " + entry.dump());
  TensorInfo tensor;
  tensor.name = name;

  const Json& dtype = field(entry, "dtype", path, where);
  const auto known = dtype.is_string() ? dtype_from_name(dtype.get_ref<const std::string&>()) : std::nullopt;
  if (!known)
    throw FormatError(path, where, "unknown dtype " + dtype.dump() + "; the format has " + dtype_names(false));
  tensor.dtype = *known;

  const Json& shape = field(entry, "shape", path, where);
  if (!shape.is_array()) throw FormatError(path, where, "shape must be a list, found " + shape.dump());
  for (const auto& dimension : shape)
    tensor.shape.push_back(natural(dimension, "each entry of shape " + shape.dump(), path, where));

  const Json& offsets = field(entry, "data_offsets", path, where);
  if (!offsets.is_array() || offsets.size() != 2)
    throw FormatError(path, where, "data_offsets must be [begin, end], found " + offsets.dump());
  tensor.begin = static_cast<size_t>(natural(offsets[0], "data_offsets " + offsets.dump(), path, where));
  tensor.end = static_cast<size_t>(natural(offsets[1], "data_offsets " + offsets.dump(), path, where));
  if (tensor.begin > tensor.end)
    throw FormatError(path, where, "data_offsets " + offsets.dump() + " are reversed: begin is behind end");

  const size_t needed = tensor_num_bytes(tensor.dtype, tensor.shape, path, where);
  if (needed != tensor.end - tensor.begin)
    throw FormatError(path, where,
                      "shape " + shape_text(tensor.shape) + " of " + std::string(dtype_name(tensor.dtype)) + " takes " +
                          std::to_string(needed) + " bytes but data_offsets " + offsets.dump() + " hold " +
                          std::to_string(tensor.end - tensor.begin));
  return tensor;
}

void check_tiling(const std::vector<TensorInfo>& tensors, size_t buffer_bytes, const std::string& path) {
  size_t expected = 0;
  std::string previous;
  for (const auto& tensor : tensors) {
    if (tensor.begin != expected) {
      const std::string neighbour =
          previous.empty() ? "the data begin at 0" : "tensor '" + previous + "' ends at " + std::to_string(expected);
      throw FormatError(path, "tensor '" + tensor.name + "'",
                        "data_offsets " + range_text(tensor.begin, tensor.end) +
                            (tensor.begin > expected ? " leave a hole: " : " overlap: ") + neighbour);
    }
    if (tensor.end > buffer_bytes)
      throw FormatError(path, "tensor '" + tensor.name + "'",
                        "data_offsets " + range_text(tensor.begin, tensor.end) +
                            " reach past the end of the file, whose data have " + std::to_string(buffer_bytes) +
                            " bytes; the file is cut short, copy it again");
    expected = tensor.end;
    previous = tensor.name;
  }
  if (expected != buffer_bytes)
    throw FormatError(path, "byte offset " + std::to_string(expected) + " of the data",
                      std::to_string(buffer_bytes - expected) + " bytes behind the last tensor belong to no tensor");
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& path) {
  const std::string_view text = header_text(file, path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  const Json json = parse_json(text, path, "header");

  SafetensorsHeader header;
  header.data_begin = 8 + static_cast<size_t>(length);
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") header.metadata = parse_metadata(entry, path);
    else header.tensors.push_back(parse_tensor(name, entry, path));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_tiling(header.tensors, file.size() - header.data_begin, path);
  return header;
}

}  // namespace fare
