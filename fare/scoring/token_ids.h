// A list of token ids in a JSON line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

// `object[key]`, which must exist. Throws FormatError naming file, place and field when it is no list of integers from
// 0 to 2^31 - 1. Whether a model has such tokens is not known here.
std::vector<int32_t> read_token_ids(const Json& object, const std::string& key, const std::string& path,
                                    const std::string& where);

}  // namespace fare
