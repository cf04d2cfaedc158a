#include "fare/checkpoint/shard_index.h"

#include <cmath>
#include <set>

#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

std::optional<double> parse_total_size(const Json& json, const std::string& path) {
  const auto metadata = json.find("metadata");
  if (metadata == json.end() || metadata->is_null()) return std::nullopt;
  if (!metadata->is_object()) throw FormatError(path, "metadata", "must be an object, found " + metadata->dump());
  const auto size = metadata->find("total_size");
  if (size == metadata->end() || size->is_null()) return std::nullopt;
  if (!size->is_number() || !(size->get<double>() >= 0))
    throw FormatError(path, "metadata.total_size", "must be a number of bytes, found " + size->dump());
  return size->get<double>();
}

}  // namespace

std::vector<std::string> ShardIndex::files() const {
  std::set<std::string> distinct;
  for (const auto& [tensor, file] : file_of) distinct.insert(file);
  return {distinct.begin(), distinct.end()};
}

ShardIndex read_shard_index(const std::filesystem::path& path) {
  const std::string name = path.string();
  const Json json = read_json_file(path);
  if (!json.is_object()) throw FormatError(name, "", "must be a JSON object");
  ShardIndex index;
  index.total_size_bytes = parse_total_size(json, name);
  const auto map = json.find("weight_map");
  if (map == json.end()) throw FormatError(name, "", "field 'weight_map' is missing");
  if (!map->is_object()) throw FormatError(name, "weight_map", "must be an object of tensor name to file name");
  if (map->empty()) throw FormatError(name, "weight_map", "is empty: the checkpoint would have no tensors");
  for (const auto& [tensor, file] : map->items()) {
    const std::string where = "weight_map, tensor '" + tensor + "'";
    if (!file.is_string()) throw FormatError(name, where, "the file name must be a string, found " + file.dump());
    const auto& text = file.get_ref<const std::string&>();
    if (!is_plain_name(text))
      throw FormatError(name, where,
                        "the file name " + file.dump() + " is not a plain name; shards lie in the folder of the index");
    index.file_of.emplace(tensor, text);
  }
  return index;
}

}  // namespace fare
