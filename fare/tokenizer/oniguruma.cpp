#include "fare/tokenizer/oniguruma.h"

#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/uscript.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

using icu::UnicodeSet;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

std::string hex(UChar32 c) {
  char text[16];
  std::snprintf(text, sizeof text, "\\x{%X}", static_cast<unsigned>(c));
  return text;
}

// The ranges of a set as they stand inside a class.
std::string class_items(const UnicodeSet& set) {
  std::string out;
  for (int32_t i = 0; i < set.getRangeCount(); ++i) {
    out += hex(set.getRangeStart(i));
    if (set.getRangeEnd(i) == set.getRangeStart(i)) continue;
    out += '-';
    out += hex(set.getRangeEnd(i));
  }
  return out;
}

UnicodeSet set_where(const std::function<bool(UChar32)>& holds) {
  UnicodeSet set;
  UChar32 start = -1;
  for (UChar32 c = 0; c <= 0x110000; ++c) {
    const bool in = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF) && holds(c);
    if (in && start < 0) start = c;
    if (!in && start >= 0) {
      set.add(start, c - 1);
      start = -1;
    }
  }
  return set;
}

UnicodeSet set_of_categories(uint32_t mask) {
  return set_where([&](UChar32 c) { return (U_MASK(general_category(c)) & mask) != 0; });
}

// Everything assigned after the Unicode version of the PCRE2 at hand. Read once: it means a walk over all of Unicode.
const std::vector<CodePointRange>& unknown_to_pcre2() {
  static const std::vector<CodePointRange> ranges = [] {
    char version[64] = "0.0.0";
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
    char* rest = nullptr;
    const int major = static_cast<int>(std::strtol(version, &rest, 10));
    const int minor = *rest == '.' ? static_cast<int>(std::strtol(rest + 1, nullptr, 10)) : 0;
    std::vector<CodePointRange> found;
    CodePointRange range;
    for (char32_t from = 0; next_assigned_after(from, major, minor, range);) found.push_back(range);
    return found;
  }();
  return ranges;
}

// Of those the ones in one of the categories.
UnicodeSet newer_than_pcre2(uint32_t mask) {
  UnicodeSet set;
  for (const auto& range : unknown_to_pcre2())
    if ((U_MASK(range.category) & mask) != 0)
      set.add(static_cast<UChar32>(range.first), static_cast<UChar32>(range.last));
  return set;
}

UnicodeSet complement_of(UnicodeSet set) {
  set.complement();
  set.remove(0xD800, 0xDFFF);
  return set;
}

// One member of a class: how PCRE2 writes it inside [..], and its code points where somebody computes with them.
struct Item {
  std::string written;  // inside a class
  std::function<UnicodeSet()> code_points;
};

Item item_of_set(const UnicodeSet& set) {
  return {class_items(set), [set] { return set; }};
}

Item negated(const Item& item) { return item_of_set(complement_of(item.code_points())); }

Item white_space() {
  UErrorCode status = U_ZERO_ERROR;
  UnicodeSet set;
  set.applyIntPropertyValue(UCHAR_WHITE_SPACE, 1, status);
  return item_of_set(set);
}

Item categories(uint32_t mask, const std::string& name) {
  // Some marks changed their kind from one Unicode version to the next; additions alone would not do.
  const bool part_of_marks = (mask & U_GC_M_MASK) != 0 && (mask & U_GC_M_MASK) != U_GC_M_MASK;
  if ((mask & U_GC_CN_MASK) != 0 || part_of_marks) return item_of_set(set_of_categories(mask));
  return {std::string("\\p{").append(name).append("}").append(class_items(newer_than_pcre2(mask))),
          [mask] { return set_of_categories(mask); }};
}

Item digits() { return categories(U_GC_ND_MASK, "Nd"); }

// Oniguruma's \w: alphabetic, marks, decimal digits, connectors; not the join controls; and the Latin-1 signs below.
Item word() {
  return item_of_set(set_where([](UChar32 c) {
    if (c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE)) return true;
    return c != 0x200C && c != 0x200D && is_word_character(static_cast<char32_t>(c));
  }));
}

Item hex_digits() { return item_of_set(UnicodeSet('0', '9').add('A', 'F').add('a', 'f')); }

Item binary_property(UProperty property, uint32_t added_categories = 0) {
  return item_of_set(set_where([&](UChar32 c) {
    return u_hasBinaryProperty(c, property) ||
           (u_charType(c) == U_UNASSIGNED && (U_MASK(general_category(c)) & added_categories & ~U_GC_CN_MASK) != 0);
  }));
}

// The property Alphabetic of Unicode 16: marks that carry a letter were added to it, beside the new letters.
Item alphabetic() {
  UnicodeSet set = binary_property(UCHAR_ALPHABETIC, U_GC_L_MASK | U_GC_NL_MASK).code_points();
  constexpr UChar32 kMarks[][2] = {{0x363, 0x36F},     {0x897, 0x897},     {0x1DD3, 0x1DE6},   {0x10D69, 0x10D69},
                                   {0x10EFC, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                                   {0x113C7, 0x113CA}, {0x113CC, 0x113CD}, {0x1611E, 0x1612E}};
  for (const auto& [first, last] : kMarks) set.add(first, last);
  return item_of_set(set);
}

Item posix_class(const std::string& name) {
  if (name == "alpha") return alphabetic();
  if (name == "digit") return digits();
  if (name == "space") return white_space();
  if (name == "upper") return binary_property(UCHAR_UPPERCASE, U_GC_LU_MASK);
  if (name == "lower") return binary_property(UCHAR_LOWERCASE, U_GC_LL_MASK);
  if (name == "punct")
    return {std::string("\\p{P}\\p{S}").append(class_items(newer_than_pcre2(U_GC_P_MASK | U_GC_S_MASK))),
            [] { return set_of_categories(U_GC_P_MASK | U_GC_S_MASK); }};
  if (name == "cntrl") return categories(U_GC_CC_MASK, "Cc");
  if (name == "xdigit") return hex_digits();
  if (name == "word") return word();
  if (name == "alnum") {
    UnicodeSet set = alphabetic().code_points();
    set.addAll(set_of_categories(U_GC_ND_MASK));
    return item_of_set(set);
  }
  if (name == "ascii") return item_of_set(UnicodeSet(0, 0x7F));
  refuse("the class name [:" + name + ":] is not supported");
}

Item property(const std::string& name) {
  const int32_t mask = u_getPropertyValueEnum(UCHAR_GENERAL_CATEGORY_MASK, name.c_str());
  if (mask != UCHAR_INVALID_CODE) {
    const char* brief = u_getPropertyValueName(UCHAR_GENERAL_CATEGORY_MASK, mask, U_SHORT_PROPERTY_NAME);
    // LC (cased letter) has another spelling in PCRE2.
    if (static_cast<uint32_t>(mask) == U_GC_LC_MASK)
      return {std::string("\\p{L&}").append(class_items(newer_than_pcre2(U_GC_LC_MASK))),
              [] { return set_of_categories(U_GC_LC_MASK); }};
    return categories(static_cast<uint32_t>(mask), brief);
  }
  const int32_t script = u_getPropertyValueEnum(UCHAR_SCRIPT, name.c_str());
  if (script != UCHAR_INVALID_CODE) {
    return item_of_set(set_where([&](UChar32 c) {
      if (script == USCRIPT_HAN && c >= 0x2EBF0 && c <= 0x2EE5D) return true;  // ideographs of Unicode 15.1
      UErrorCode status = U_ZERO_ERROR;
      return uscript_getScript(c, &status) == script;
    }));
  }
  std::string lower;
  for (const char c : name)
    if (c != ' ' && c != '_' && c != '-') lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (lower == "any") return item_of_set(complement_of(UnicodeSet()));
  if (lower == "assigned") return item_of_set(complement_of(set_of_categories(U_GC_CN_MASK)));
  for (const char* known : {"alpha", "digit", "space", "upper", "lower", "punct", "cntrl", "xdigit", "word", "alnum"})
    if (lower == known) return posix_class(lower);
  const UProperty binary = u_getPropertyEnum(name.c_str());
  if (binary >= UCHAR_BINARY_START && binary < UCHAR_BINARY_LIMIT) {
    if (binary == UCHAR_ALPHABETIC) return alphabetic();
    uint32_t added = 0;
    if (binary == UCHAR_UPPERCASE) added = U_GC_LU_MASK;
    if (binary == UCHAR_LOWERCASE) added = U_GC_LL_MASK;
    return binary_property(binary, added);
  }
  refuse("the property \\p{" + name + "} is not known");
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape_outside_class();
      } else if (c == '[') {
        out_ += class_text();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        out_ += c;
        ++at_;
      }
    }
    return out_;
  }

 private:
  bool starts(std::string_view text) const { return in_.substr(at_).substr(0, text.size()) == text; }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  static std::string in_brackets(const Item& item, bool negate) {
    return std::string(negate ? "[^" : "[").append(item.written).append("]");
  }

  // \p{Name}, \p{^Name}, \P{Name}; `at_` stands behind the p.
  Item braced_property(bool negate) {
    if (peek() != '{') refuse("\\p without {name}");
    const size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) refuse("\\p{ is not closed");
    std::string name(in_.substr(at_ + 1, close - at_ - 1));
    at_ = close + 1;
    if (!name.empty() && name[0] == '^') {
      negate = !negate;
      name.erase(0, 1);
    }
    const Item item = property(name);
    return negate ? negated(item) : item;
  }

  char32_t hex_number(size_t digits) {
    char32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) refuse("a hexadecimal escape is cut short");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    return value;
  }

  // The code point of \xHH, \x{H..}, \uHHHH; `at_` stands behind the letter.
  char32_t numeric_escape(char letter) {
    if (letter == 'u') return hex_number(4);
    if (peek() == '{') {
      const size_t close = in_.find('}', at_);
      if (close == std::string_view::npos || close == at_ + 1 || close > at_ + 9)
        refuse("\\x{ is not closed or too long");
      ++at_;
      const char32_t value = hex_number(close - at_);
      ++at_;
      if (value > 0x10FFFF) refuse("\\x{..} names no character");
      return value;
    }
    const char32_t value = hex_number(2);
    if (value > 0x7F) refuse("\\xHH above 7F names a byte, not a character; write \\x{HH}");
    return value;
  }

  // The class escapes that mean the same inside and outside brackets.
  std::optional<Item> class_escape(char letter) {
    switch (letter) {
      case 's': return white_space();
      case 'S': return negated(white_space());
      case 'd': return digits();
      case 'D': return negated(digits());
      case 'w': return word();
      case 'W': return negated(word());
      case 'h': return hex_digits();
      case 'H': return negated(hex_digits());
      default: return std::nullopt;
    }
  }

  void escape_outside_class() {
    if (at_ + 1 >= in_.size()) refuse("the pattern ends with a backslash");
    const char letter = in_[at_ + 1];
    at_ += 2;
    if (letter == 'p' || letter == 'P') {
      // A negated property stays short when the whole class is negated.
      const size_t name = at_ + 1;
      const bool caret = peek() == '{' && name < in_.size() && in_[name] == '^';
      const bool negate = (letter == 'P') != caret;
      Item item = braced_property(caret);  // the plain, unnegated property
      out_ += in_brackets(item, negate);
      return;
    }
    if (letter == 'S' || letter == 'D' || letter == 'W' || letter == 'H') {
      out_ += in_brackets(*class_escape(static_cast<char>(letter + 32)), true);
      return;
    }
    if (const auto item = class_escape(letter)) {
      out_ += in_brackets(*item, false);
      return;
    }
    switch (letter) {
      case 'b':
      case 'B': {
        const std::string w = in_brackets(word(), false);
        out_ += letter == 'b' ? "(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))"
                              : "(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))";
        return;
      }
      case 'v': out_ += "\\x{B}"; return;
      case 'O': out_ += "(?s:.)"; return;
      case 'x':
      case 'u': out_ += hex(static_cast<UChar32>(numeric_escape(letter))); return;
      default: break;
    }
    const bool alphanumeric =
        (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (alphanumeric && std::string_view("tnrfaeAzZGRXKN0123456789kg").find(letter) == std::string_view::npos)
      refuse(std::string("the escape \\") + letter + " is not supported");
    out_ += '\\';
    out_ += letter;
  }

  // One single character inside a class (literal or escaped), for ranges.
  char32_t class_character() {
    if (at_ >= in_.size()) refuse("a class is not closed");
    if (in_[at_] != '\\') return next_code_point(in_, at_);
    if (at_ + 1 >= in_.size()) refuse("the pattern ends with a backslash");
    ++at_;
    const char letter = in_[at_];
    if (static_cast<unsigned char>(letter) >= 0x80) return next_code_point(in_, at_);
    ++at_;
    switch (letter) {
      case 't': return '\t';
      case 'n': return '\n';
      case 'r': return '\r';
      case 'f': return '\f';
      case 'a': return '\a';
      case 'e': return 0x1B;
      case 'v': return 0x0B;
      case 'b': return '\b';
      case '0': return 0;
      case 'x':
      case 'u': return numeric_escape(letter);
      default: break;
    }
    if ((letter >= '1' && letter <= '9') || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))
      refuse(std::string("the escape \\") + letter + " is not supported inside a class");
    return static_cast<char32_t>(letter);
  }

  // A whole class [..]; `at_` stands at the bracket. Written with a leading ^ where it is negated, so that matching
  // without regard to case negates last.
  std::string class_text() {
    bool negate = false;
    const Item body = class_body(negate);
    if (body.written.empty()) return negate ? "(?s:.)" : "(?!)";
    return in_brackets(body, negate);
  }

  Item class_body(bool& negate) {
    ++at_;
    negate = peek() == '^';
    if (negate) ++at_;
    std::vector<Item> items;
    std::optional<UnicodeSet> intersection;  // of the operands of && so far
    const auto joined = [](const std::vector<Item>& parts) {
      Item all;
      for (const auto& part : parts) all.written += part.written;
      all.code_points = [parts] {
        UnicodeSet set;
        for (const auto& part : parts) set.addAll(part.code_points());
        return set;
      };
      return all;
    };
    const auto single = [](char32_t first, char32_t last) {
      return item_of_set(UnicodeSet(static_cast<UChar32>(first), static_cast<UChar32>(last)));
    };
    for (bool first = true;; first = false) {
      if (at_ >= in_.size()) refuse("a class is not closed");
      if (in_[at_] == ']' && !first) break;
      if (in_[at_] == ']' && in_.find(']', at_ + 1) == std::string_view::npos) refuse("a class is empty");
      if (starts("&&")) {
        at_ += 2;
        UnicodeSet set = joined(items).code_points();
        if (intersection) set.retainAll(*intersection);
        intersection = set;
        items.clear();
        continue;
      }
      if (starts("[:")) {
        const size_t close = in_.find(":]", at_);
        if (close != std::string_view::npos) {
          std::string name(in_.substr(at_ + 2, close - at_ - 2));
          at_ = close + 2;
          const bool inverted = !name.empty() && name[0] == '^';
          if (inverted) name.erase(0, 1);
          const Item item = posix_class(name);
          items.push_back(inverted ? negated(item) : item);
          continue;
        }
      }
      if (in_[at_] == '[') {
        bool inverted = false;
        const Item nested = class_body(inverted);
        items.push_back(inverted ? negated(nested) : nested);
        continue;
      }
      if (in_[at_] == '\\' && at_ + 1 < in_.size()) {
        const char letter = in_[at_ + 1];
        if (letter == 'p' || letter == 'P') {
          at_ += 2;
          items.push_back(braced_property(letter == 'P'));
          continue;
        }
        if (const auto item = class_escape(letter)) {
          at_ += 2;
          items.push_back(*item);
          continue;
        }
      }
      const char32_t low = class_character();
      if (peek() == '-' && peek(1) != ']' && at_ + 1 < in_.size() && !(peek(1) == '\\' && is_class_letter(peek(2))) &&
          peek(1) != '[') {
        ++at_;
        const char32_t high = class_character();
        if (high < low) refuse("a range in a class runs backwards");
        items.push_back(single(low, high));
      } else {
        items.push_back(single(low, low));
      }
    }
    ++at_;
    Item all = joined(items);
    if (intersection) {
      UnicodeSet set = all.code_points();
      set.retainAll(*intersection);
      all = item_of_set(set);
    }
    return all;
  }

  static bool is_class_letter(char letter) {
    return letter != '\0' && std::string_view("sSdDwWhHpP").find(letter) != std::string_view::npos;
  }

  void group() {
    if (starts("(*")) refuse("(*..) is not supported");
    if (!starts("(?")) {
      out_ += '(';
      ++at_;
      return;
    }
    if (starts("(?~")) refuse("the absent operator (?~..) is not supported");
    if (starts("(?#")) {
      const size_t close = in_.find(')', at_);
      if (close == std::string_view::npos) refuse("a comment is not closed");
      at_ = close + 1;
      return;
    }
    const char kind = peek(2);
    if (!(kind == '-' || (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z'))) {
      out_ += "(?";  // look-around, atomic, named, conditional: written alike
      at_ += 2;
      return;
    }
    out_ += "(?";
    for (at_ += 2; at_ < in_.size() && in_[at_] != ')' && in_[at_] != ':'; ++at_) {
      const char option = in_[at_];
      if (option == 'm') out_ += 's';
      else if (option == 'i' || option == 'x' || option == '-') out_ += option;
      else refuse(std::string("the option (?") + option + ") is not supported");
    }
    if (at_ >= in_.size()) refuse("a group is not closed");
    out_ += in_[at_++];
  }

  // {n}, {n,}, {,m}, {n,m}; anything else in braces is literal text.
  void interval() {
    size_t i = at_ + 1;
    std::string low, high;
    bool comma = false;
    while (i < in_.size() && in_[i] >= '0' && in_[i] <= '9') low += in_[i++];
    if (i < in_.size() && in_[i] == ',') {
      comma = true;
      ++i;
      while (i < in_.size() && in_[i] >= '0' && in_[i] <= '9') high += in_[i++];
    }
    if (i >= in_.size() || in_[i] != '}' || (low.empty() && high.empty())) {
      out_ += "\\{";
      ++at_;
      return;
    }
    at_ = i + 1;
    if (peek() == '+') refuse("a '+' behind {..} repeats in one dialect and is possessive in another; add a group");
    if (peek() == '?' && !comma) refuse("a '?' behind {n} is read differently by dialects; add a group");
    out_.append("{").append(low.empty() ? "0" : low);
    if (comma) out_.append(",").append(high);
    out_ += '}';
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre2_from_oniguruma(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace fare
