#include "fare/benchmarks/words.h"

#include <algorithm>
#include <cctype>

namespace fare {
namespace {

bool is_word_byte(char c) {
  const unsigned char byte = static_cast<unsigned char>(c);
  return byte > 127 || std::isalnum(byte) || c == '\'' || c == '-';
}

}  // namespace

Words words_of(const std::string& text) {
  Words result;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_word_byte(text[end])) ++end;
    if (end > at) {
      result.begin.push_back(at);
      result.words.push_back(text.substr(at, end - at));
    }
    at = end + 1;
  }
  return result;
}

std::string lower_ascii(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace fare
