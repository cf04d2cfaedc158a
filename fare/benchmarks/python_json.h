// JSON spelled byte for byte as Python's json module spells it, because the harness hashes and stores such text.
#pragma once

#include <string>
#include <string_view>

#include "fare/core/json.h"

namespace fare {

// json.dumps(value, ensure_ascii=False): separators ", " and ": "; with `indent` >= 0 one entry a line, indented by
// that many spaces per level, separators "," and ": ". Keys keep their order, integers stay integers, binary64 values
// are written in shortest round-trip form, undefined ones as NaN, Infinity, -Infinity.
std::string python_json_dumps(const OrderedJson& value, int indent = -1);

// json.loads: keeps the order of keys and accepts NaN, Infinity and -Infinity. Throws FormatError naming `path` and
// `where` on broken JSON, invalid UTF-8, a duplicate key or nesting deeper than 64.
OrderedJson python_json_loads(std::string_view text, const std::string& path, const std::string& where = "");

}  // namespace fare
