#include "fare/benchmarks/unicode_text.h"

namespace fare {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// Start of the code point that ends before byte `end`.
size_t previous(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at + code_point_at(text, at).num_bytes == end ? at : end - 1;
}

}  // namespace

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

CodePoint code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1};
  size_t num_bytes = 0;
  char32_t value = 0;
  char32_t smallest = 0;
  if ((first & 0xE0) == 0xC0) {
    num_bytes = 2, value = first & 0x1F, smallest = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    num_bytes = 3, value = first & 0x0F, smallest = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    num_bytes = 4, value = first & 0x07, smallest = 0x10000;
  } else {
    return {kReplacement, 1};
  }
  if (at + num_bytes > text.size()) return {kReplacement, 1};
  for (size_t i = 1; i < num_bytes; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {kReplacement, 1};
    value = (value << 6) | (byte(at + i) & 0x3F);
  }
  if (value < smallest || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return {kReplacement, 1};
  return {value, num_bytes};
}

int64_t count_code_points(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).num_bytes) ++count;
  return count;
}

bool is_valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (point.num_bytes == 1 && point.value >= 0x80) return false;
    at += point.num_bytes;
  }
  return true;
}

std::string_view strip_right(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t at = previous(text, end);
    if (!is_python_space(code_point_at(text, at).value)) break;
    end = at;
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text) {
  text = strip_right(text);
  size_t begin = 0;
  while (begin < text.size()) {
    const CodePoint point = code_point_at(text, begin);
    if (!is_python_space(point.value)) break;
    begin += point.num_bytes;
  }
  return text.substr(begin);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t begin = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, begin)) {
    out.append(text.substr(begin, at - begin)).append(to);
    begin = at + from.size();
  }
  return out.append(text.substr(begin));
}

std::vector<std::string> split_at_space(std::string_view text) {
  std::vector<std::string> pieces;
  std::string piece;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (is_python_space(point.value)) {
      if (!piece.empty()) pieces.push_back(std::move(piece));
      piece.clear();
    } else {
      piece.append(text.substr(at, point.num_bytes));
    }
    at += point.num_bytes;
  }
  if (!piece.empty()) pieces.push_back(std::move(piece));
  return pieces;
}

}  // namespace fare
