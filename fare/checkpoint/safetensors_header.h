// The header of a safetensors file: parsed and checked so that whatever it says can be relied on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fare/checkpoint/dtype.h"

namespace fare {

struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // row-major; empty = rank 0, one element
  size_t begin = 0, end = 0;   // bytes of the data buffer, end exclusive
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // by begin; they tile the data buffer exactly
  std::map<std::string, std::string> metadata;  // "__metadata__"; empty when absent
  size_t data_begin = 0;                        // byte of the file at which the data buffer begins
};

// Reads the header from `file`, the bytes of the whole file; touches nothing behind the header.
// Throws FormatError naming `path`, the tensor and the offsets when: the file is shorter than 8 bytes; the header
// length N is above 100,000,000 or reaches past the file; the header does not begin with '{', is not valid UTF-8 JSON
// or is followed by anything but spaces; a name occurs twice; metadata is not an object of strings; dtype is unknown;
// shape or offsets are not non-negative integers; offsets are reversed; shape and dtype disagree with the number of
// bytes; the tensors leave a hole, overlap, or do not end where the file ends (a file cut short says so). Source: the
// safetensors format, "Format" section of its reference documentation.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& path);

}  // namespace fare
