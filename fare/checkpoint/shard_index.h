// model.safetensors.index.json: which file of the folder holds which tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fare {

struct ShardIndex {
  std::map<std::string, std::string> file_of;  // tensor name -> plain file name in the folder of the index
  std::optional<double> total_size_bytes;      // metadata.total_size, an integer or a float in the wild; informs only

  std::vector<std::string> files() const;  // distinct, sorted
};

// Reads and checks the index itself; the shards are not opened.
// Throws IoError when it cannot be read; FormatError naming the path and the tensor or key when: it is not JSON or not
// an object; "weight_map" is missing, empty or not an object of strings; a file name is not a plain name (a separator,
// ".",
// "..", empty); "metadata" is not an object; "total_size" is not a number >= 0. "metadata" and its keys may be missing.
ShardIndex read_shard_index(const std::filesystem::path& path);

}  // namespace fare
