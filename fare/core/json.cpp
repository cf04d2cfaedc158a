#include "fare/core/json.h"

#include <charconv>
#include <cmath>
#include <set>

#include "fare/core/file.h"

namespace fare {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

Json parse_json(std::string_view text, const std::string& path, const std::string& where) {
  std::vector<std::set<std::string>> keys;  // one per open object
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) throw FormatError(path, where, "JSON nested deeper than " + std::to_string(kMaxDepth));
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw FormatError(path, where, "duplicate key " + parsed.dump());
    return true;
  };
  // The parser takes a zero byte for the end of the text; JSON has none, not even in a string.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    throw FormatError(path, where, "not valid JSON: a zero byte at byte " + std::to_string(zero));
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw FormatError(path, where, std::string("not valid JSON: ") + error.what());
  }
}

Json read_json_file(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void for_each_json_line(const std::filesystem::path& path, const std::function<void(const Json&, size_t)>& use) {
  for_each_line(read_file(path), [&](std::string_view line, size_t number) {
    if (line.find_first_not_of(" \t") == std::string_view::npos) return;
    const std::string where = "line " + std::to_string(number);
    const Json object = parse_json(line, path.string(), where);
    if (!object.is_object()) throw FormatError(path.string(), where, "expected a JSON object");
    use(object, number);
  });
}

std::string python_float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string scientific(buffer, end);
  const size_t e = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(e + 1));
  // Python switches to exponents below 1e-4 and from 1e16 on.
  if (exponent >= -4 && exponent < 16) {
    end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
    std::string fixed(buffer, end);
    if (fixed.find('.') == std::string::npos) fixed += ".0";
    return fixed;
  }
  return scientific;
}

}  // namespace fare
