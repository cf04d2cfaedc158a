// Letter case of UTF-8 text as Python's str methods see it.
#pragma once

#include <string>
#include <string_view>

namespace fare {

std::string lower_text(std::string_view text);  // str.lower()
// str.capitalize(): the first character in title case (which may be two characters), all others lower-case.
std::string capitalize_text(std::string_view text);
// str.isupper(): some letter has a case, and none is lower- or title-case.
bool is_upper_text(std::string_view text);

// The text without the characters of Python's string.punctuation (ASCII), everywhere or at both ends.
std::string without_punctuation(std::string_view text);
std::string_view strip_punctuation(std::string_view text);

}  // namespace fare
