// JSON read from files that nobody vouches for: depth-limited, valid UTF-8, no duplicate keys, errors with their place.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fare {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps the order of keys: for files whose bytes matter

// Parses one JSON text. `path` and `where` (a line, or "") only name it in errors. Throws FormatError on broken JSON,
// a raw zero byte, invalid UTF-8, a duplicate key or nesting deeper than 64.
Json parse_json(std::string_view text, const std::string& path, const std::string& where = "");

Json read_json_file(const std::filesystem::path& path);

// Calls `use(object, line number)` for every non-empty line of a JSON-lines file; a line that is not an object is a
// FormatError with its number.
void for_each_json_line(const std::filesystem::path& path, const std::function<void(const Json&, size_t)>& use);

// Shortest text that reads back to the same binary64, spelled as Python's repr does: "1e-07", "3.0", "inf", "nan".
std::string python_float_text(double value);

// Typed access that says what is wrong: `get<std::string>(object, "id", path, "line 3")`. Throws FormatError when the
// key is absent or of another type.
template <typename T>
T require(const Json& object, const std::string& key, const std::string& path, const std::string& where);

}  // namespace fare

#include "fare/core/error.h"

namespace fare {

template <typename T>
T require(const Json& object, const std::string& key, const std::string& path, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) throw FormatError(path, where, "field '" + key + "' is missing");
  bool fits = true;
  if constexpr (std::is_same_v<T, bool>) fits = found->is_boolean();
  else if constexpr (std::is_integral_v<T>) fits = found->is_number_integer();
  else if constexpr (std::is_floating_point_v<T>) fits = found->is_number();
  else if constexpr (std::is_same_v<T, std::string>) fits = found->is_string();
  if (!fits) throw FormatError(path, where, "field '" + key + "' has the wrong type: " + found->dump());
  try {
    return found->template get<T>();
  } catch (const Json::exception&) {
    throw FormatError(path, where, "field '" + key + "' has the wrong type: " + found->dump());
  }
}

}  // namespace fare
