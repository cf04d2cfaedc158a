// Code points of UTF-8 text, and white space as Python's str.strip() sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fare {

// True for U+0009-000D, 001C-001F, 0020, 0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F and 3000.
// Source: Python's str.isspace(); the harness strips with it.
bool is_python_space(char32_t code_point);

// The code point that starts at byte `at` and its length in bytes. A byte that starts no valid sequence counts as one
// code point of its own (U+FFFD, length 1), so that every text can be walked.
struct CodePoint {
  char32_t value = 0;
  size_t num_bytes = 1;
};
CodePoint code_point_at(std::string_view text, size_t at);

// Number of code points; what Python's len() gives.
int64_t count_code_points(std::string_view text);

// True when `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_valid_utf8(std::string_view text);

// `text` without white space (as above) at its end, at both ends. The view points into `text`.
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);

// `text` with every occurrence of `from` (not empty) replaced by `to`, left to right and without overlap.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

// The pieces between runs of white space; what Python's split() gives.
std::vector<std::string> split_at_space(std::string_view text);

}  // namespace fare
