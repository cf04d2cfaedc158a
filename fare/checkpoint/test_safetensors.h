// For tests: safetensors files written by hand, broken ones included.
#pragma once

#include <cstring>
#include <string>

#include "fare/core/file.h"
#include "fare/core/test_folder.h"

namespace fare {

// The bytes of a file with this header text, whatever it says, and that many bytes of data (0, 1, 2, ..).
inline std::string safetensors_bytes(const std::string& header, size_t num_data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += header;
  for (size_t i = 0; i < num_data_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

}  // namespace fare
