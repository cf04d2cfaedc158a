#include "fare/benchmarks/unicode_case.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "fare/benchmarks/unicode_text.h"

namespace fare {
namespace {

std::string utf8(const icu::UnicodeString& text) {
  std::string out;
  text.toUTF8String(out);
  return out;
}

icu::UnicodeString utf16(std::string_view text) {
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())});
}

bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

}  // namespace

std::string lower_text(std::string_view text) { return utf8(utf16(text).toLower(icu::Locale::getRoot())); }

std::string capitalize_text(std::string_view text) {
  if (text.empty()) return "";
  const CodePoint first = code_point_at(text, 0);
  // The tail is lower-cased where it stands: a sigma after the first character may end a word. Without adjustment the
  // break iterator of one text alone titles its first character, in full (one may become two).
  const icu::UnicodeString head(static_cast<UChar32>(first.value));
  icu::UnicodeString title = head;
  title.toTitle(nullptr, icu::Locale::getRoot(), U_TITLECASE_WHOLE_STRING | U_TITLECASE_NO_BREAK_ADJUSTMENT);
  return utf8(title) + lower_text(text).substr(utf8(icu::UnicodeString(head).toLower(icu::Locale::getRoot())).size());
}

bool is_upper_text(std::string_view text) {
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    at += point.num_bytes;
    const auto c = static_cast<UChar32>(point.value);
    if (u_hasBinaryProperty(c, UCHAR_LOWERCASE) || u_istitle(c)) return false;
    cased = cased || u_hasBinaryProperty(c, UCHAR_UPPERCASE);
  }
  return cased;
}

std::string without_punctuation(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (!is_punctuation(c)) out += c;
  return out;
}

std::string_view strip_punctuation(std::string_view text) {
  while (!text.empty() && is_punctuation(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_punctuation(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace fare
