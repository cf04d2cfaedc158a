#include "fare/tokenizer/unicode.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace fare {
namespace {

struct Addition {
  char32_t first;
  char32_t last;
  int category;
  int version;
};

constexpr Addition kAdditions[] = {
#include "fare/tokenizer/unicode_additions.inc"
};

const Addition* addition_of(char32_t c) {
  const auto* found = std::lower_bound(std::begin(kAdditions), std::end(kAdditions), c,
                                       [](const Addition& range, char32_t value) { return range.last < value; });
  return found != std::end(kAdditions) && found->first <= c ? found : nullptr;
}

}  // namespace

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::optional<size_t> first_invalid_utf8(std::string_view bytes) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto size = static_cast<int64_t>(bytes.size());
  for (int64_t i = 0; i < size;) {
    const int64_t start = i;
    UChar32 c = 0;
    U8_NEXT(data, i, size, c);
    if (c < 0) return static_cast<size_t>(start);
  }
  return std::nullopt;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto size = static_cast<int64_t>(bytes.size());
  for (int64_t i = 0; i < size;) {
    const int64_t start = i;
    UChar32 c = 0;
    U8_NEXT(data, i, size, c);
    if (c < 0) {
      out += "\xEF\xBF\xBD";
    } else {
      out.append(bytes.substr(start, i - start));
    }
  }
  return out;
}

int general_category(char32_t c, int version) {
  const int known = u_charType(static_cast<UChar32>(c));
  if (known != U_UNASSIGNED) return known;
  const Addition* added = addition_of(c);
  return added != nullptr && added->version <= version ? added->category : U_UNASSIGNED;
}

bool next_assigned_after(char32_t& from, int major, int minor, CodePointRange& found) {
  const auto newer = [&](char32_t c) -> int {
    const int category = general_category(c);
    if (category == U_UNASSIGNED || category == U_SURROGATE) return -1;
    if (addition_of(c) != nullptr) return category;
    UVersionInfo age;
    u_charAge(static_cast<UChar32>(c), age);
    return age[0] > major || (age[0] == major && age[1] > minor) ? category : -1;
  };
  for (; from <= 0x10FFFF; ++from) {
    const int category = newer(from);
    if (category < 0) continue;
    found = {from, from, category};
    while (++from <= 0x10FFFF && newer(from) == category) found.last = from;
    return true;
  }
  return false;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return (U_MASK(general_category(c, 17)) & U_GC_N_MASK) != 0;
}

bool is_word_character(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  constexpr uint32_t kWord = U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK | U_GC_NL_MASK | U_GC_PC_MASK;
  return (U_MASK(general_category(c)) & kWord) != 0 || u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_ALPHABETIC) ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_JOIN_CONTROL);
}

}  // namespace fare
