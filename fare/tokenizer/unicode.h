// UTF-8 and the character classes that tokenizers speak of. ICU's tables are completed by a small one of our own, so
// that every installation answers as Unicode 16 (unicode_additions.inc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fare {

// The code point at byte `i` of valid UTF-8; moves `i` behind it.
inline char32_t next_code_point(std::string_view text, size_t& i) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(i);
  if (lead < 0x80) return text[i++];
  if (lead < 0xE0) {
    i += 2;
    return static_cast<char32_t>((lead & 0x1F) << 6 | (byte(i - 1) & 0x3F));
  }
  if (lead < 0xF0) {
    i += 3;
    return static_cast<char32_t>((lead & 0x0F) << 12 | (byte(i - 2) & 0x3F) << 6 | (byte(i - 1) & 0x3F));
  }
  i += 4;
  return static_cast<char32_t>((lead & 0x07) << 18 | (byte(i - 3) & 0x3F) << 12 | (byte(i - 2) & 0x3F) << 6 |
                               (byte(i - 1) & 0x3F));
}

// Bytes of the character that starts with `lead` (valid UTF-8).
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation_byte(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

void append_utf8(std::string& out, char32_t code_point);

// Byte offset of the first thing that is not UTF-8 (surrogates, overlong and cut-short sequences included).
std::optional<size_t> first_invalid_utf8(std::string_view bytes);

// `bytes` with every maximal invalid sequence replaced by one U+FFFD.
std::string replace_invalid_utf8(std::string_view bytes);

// Unicode general category (ICU's UCharCategory), as of `version` (15, 16 or 17).
int general_category(char32_t code_point, int version = 16);

// Code points that PCRE2's own tables, of Unicode `major`.`minor`, do not know yet. [first, last] in rising order;
// false when there is no further one. `from` moves behind the range found.
struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
  int category = 0;
};
bool next_assigned_after(char32_t& from, int major, int minor, CodePointRange& found);

bool is_white_space(char32_t code_point);     // property White_Space
bool is_numeric(char32_t code_point);         // categories Nd, Nl, No (Unicode 17)
bool is_word_character(char32_t code_point);  // UTS #18 \w: alphabetic, marks, Nd, Pc, join controls

}  // namespace fare
