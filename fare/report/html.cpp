#include "fare/report/html.h"

#include <fmt/format.h>

#include <cmath>

namespace fare {

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') out += "\xEF\xBF\xBD";
        else if (c == 0x7f) out += "\xEF\xBF\xBD";
        else out += c;
    }
  }
  return out;
}

std::string fixed_text(double value, int digits) {
  std::string text = fmt::format("{:.{}f}", std::abs(value), digits);
  const bool is_zero = text.find_first_not_of("0.") == std::string::npos;
  return (value < 0 && !is_zero ? "\u2212" : "") + text;
}

std::string compact_text(double value) {
  // From 1000 on the places after the point say nothing that three digits would not.
  if ((value == std::floor(value) || std::abs(value) >= 999.5) && std::abs(value) < 1e15) {
    std::string digits = fmt::format("{:.0f}", std::abs(value));
    for (int at = static_cast<int>(digits.size()) - 3; at > 0 && digits.size() > 4; at -= 3)
      digits.insert(at, "\u202F");
    return (value < 0 ? "\u2212" : "") + digits;
  }
  return (value < 0 ? "\u2212" : "") + fmt::format("{:.3g}", std::abs(value));
}

std::string undefined_html(const std::string& reason) {
  return "<span class=\"undef\">undefined: " + escape_html(reason) + "</span>";
}

std::string number_html(const Node& object, const std::string& key, int digits) {
  const auto value = object.number_or_null(key);
  if (!value) return undefined_html(object.reason(key));
  return digits < 0 ? compact_text(*value) : fixed_text(*value, digits);
}

std::string range_html(const Node& object, const std::string& key, int digits) {
  const auto range = range_or_null(object, key);
  if (!range) return undefined_html(object.reason(key));
  const auto show = [&](double value) { return digits < 0 ? compact_text(value) : fixed_text(value, digits); };
  return "[" + show(range->low) + ", " + show(range->high) + "]";
}

std::string value_with_range_html(const Node& object, const std::string& value_key, const std::string& range_key,
                                  int digits) {
  const std::string value = number_html(object, value_key, digits);
  if (object.at(value_key).is_null()) return value;
  return value + " <span class=\"range\">" + range_html(object, range_key, digits) + "</span>";
}

}  // namespace fare
