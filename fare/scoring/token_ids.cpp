#include "fare/scoring/token_ids.h"

#include <limits>

namespace fare {

std::vector<int32_t> read_token_ids(const Json& object, const std::string& key, const std::string& path,
                                    const std::string& where) {
  const Json& list = object.at(key);
  if (!list.is_array()) throw FormatError(path, where, "field '" + key + "' must be a list of token ids");
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& value : list) {
    if (!value.is_number_integer() || value.get<double>() < 0 ||
        value.get<double>() > std::numeric_limits<int32_t>::max())
      throw FormatError(path, where, "field '" + key + "' holds " + value.dump() + ", which is not a token id");
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

}  // namespace fare
