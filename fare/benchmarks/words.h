// A text cut at its words.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fare {

// Words are runs of letters, digits, ' and - (any byte above 127 is a letter).
struct Words {
  std::vector<std::string> words;
  std::vector<size_t> begin;  // byte offset of each
};
Words words_of(const std::string& text);

// ASCII letters in lower case.
std::string lower_ascii(std::string text);

}  // namespace fare
