#include "fare/benchmarks/python_json.h"

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int kMaxDepth = 64;

void append_string(const std::string& text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kHex[static_cast<unsigned char>(c) >> 4];
          out += kHex[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append(const OrderedJson& value, int indent, int level, std::string& out) {
  const auto new_line = [&](int at_level) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(indent) * static_cast<size_t>(at_level), ' ');
  };
  const char* between = indent < 0 ? ", " : ",";
  if (value.is_object() || value.is_array()) {
    const bool object = value.is_object();
    out += object ? '{' : '[';
    bool first = true;
    for (const auto& [key, entry] : value.items()) {
      if (!first) out += between;
      first = false;
      new_line(level + 1);
      if (object) {
        append_string(key, out);
        out += ": ";
      }
      append(entry, indent, level + 1, out);
    }
    if (!first) new_line(level);
    out += object ? '}' : ']';
  } else if (value.is_string()) {
    append_string(value.get_ref<const std::string&>(), out);
  } else if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::isnan(number)) out += "NaN";
    else if (std::isinf(number)) out += number > 0 ? "Infinity" : "-Infinity";
    else out += python_float_text(number);
  } else {
    out += value.dump();  // null, true, false and integers are spelled alike
  }
}

// The JSON parser at hand knows no NaN, so bare ones become strings no file holds, and numbers again after parsing.
const std::string kNan("\0NaN", 4), kInf("\0Infinity", 9), kMinusInf("\0-Infinity", 10);

std::string with_numbers_quoted(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    if (in_string) {
      if (text[i] == '\\' && i + 1 < text.size()) out += text[i++];
      else if (text[i] == '"') in_string = false;
      out += text[i++];
      continue;
    }
    bool replaced = false;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
      if (text.substr(i, word.size()) != word) continue;
      out += "\"\\u0000" + std::string(word) + "\"";
      i += word.size();
      replaced = true;
      break;
    }
    if (replaced) continue;
    if (text[i] == '"') in_string = true;
    out += text[i++];
  }
  return out;
}

void restore_numbers(OrderedJson& value) {
  if (value.is_structured()) {
    for (auto& entry : value) restore_numbers(entry);
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == kNan) value = std::numeric_limits<double>::quiet_NaN();
    else if (text == kInf) value = std::numeric_limits<double>::infinity();
    else if (text == kMinusInf) value = -std::numeric_limits<double>::infinity();
  }
}

}  // namespace

std::string python_json_dumps(const OrderedJson& value, int indent) {
  std::string out;
  append(value, indent, 0, out);
  return out;
}

OrderedJson python_json_loads(std::string_view text, const std::string& path, const std::string& where) {
  std::vector<std::set<std::string>> keys;  // one per open object
  const auto watch = [&](int depth, OrderedJson::parse_event_t event, OrderedJson& parsed) {
    if (depth > kMaxDepth) throw FormatError(path, where, "JSON nested deeper than " + std::to_string(kMaxDepth));
    if (event == OrderedJson::parse_event_t::object_start) keys.emplace_back();
    if (event == OrderedJson::parse_event_t::object_end) keys.pop_back();
    if (event == OrderedJson::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw FormatError(path, where, "duplicate key " + parsed.dump());
    return true;
  };
  const bool has_bare_words =
      text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos;
  try {
    if (!has_bare_words) return OrderedJson::parse(text, watch);
    OrderedJson value = OrderedJson::parse(with_numbers_quoted(text), watch);
    restore_numbers(value);
    return value;
  } catch (const OrderedJson::exception& error) {
    throw FormatError(path, where, std::string("not valid JSON: ") + error.what());
  }
}

}  // namespace fare
