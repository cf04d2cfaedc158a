#include "fare/tokenizer/chat/functions.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "fare/tokenizer/unicode.h"

namespace fare::chat {
namespace {

// No template needs more; a hostile one would fill the memory.
constexpr int64_t kMaxRange = 100000;
constexpr size_t kMaxText = size_t{1} << 26;

[[noreturn]] void fail(const std::string& what) { throw TemplateError(what); }

// ---- arguments ----

// The arguments of one call by position or name; every one must be used.
class Reader {
 public:
  Reader(std::string callee, const Arguments& arguments, std::initializer_list<const char*> names)
      : callee_(std::move(callee)), names_(names.begin(), names.end()) {
    values_.resize(names_.size());
    if (arguments.positional.size() > names_.size())
      fail(callee_ + " takes at most " + std::to_string(names_.size()) + " arguments, not " +
           std::to_string(arguments.positional.size()));
    for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      const auto found = std::find(names_.begin(), names_.end(), name);
      if (found == names_.end()) fail(callee_ + " has no argument '" + name + "'");
      auto& held = values_[static_cast<size_t>(found - names_.begin())];
      if (held) fail(callee_ + " is given '" + name + "' twice");
      held = value;
    }
  }
  const Value* get(size_t i) const { return values_[i] ? &*values_[i] : nullptr; }
  const Value& need(size_t i) const {
    if (!values_[i]) fail(callee_ + " needs the argument '" + names_[i] + "'");
    return *values_[i];
  }
  std::string text(size_t i) const {
    const Value& value = need(i);
    value.require_defined();
    if (!value.is_text())
      fail("argument '" + names_[i] + "' of " + callee_ + " must be a text, not " + value.type_name());
    return value.text();
  }
  int64_t whole(size_t i, int64_t absent) const {
    if (!values_[i]) return absent;
    values_[i]->require_defined();
    if (!values_[i]->is_whole())
      fail("argument '" + names_[i] + "' of " + callee_ + " must be a whole number, not " + values_[i]->type_name());
    return values_[i]->whole();
  }
  bool truth(size_t i, bool absent) const { return values_[i] ? values_[i]->truth() : absent; }

 private:
  std::string callee_;
  std::vector<std::string> names_;
  std::vector<std::optional<Value>> values_;
};

// ---- text ----

std::string changed_case(std::string_view text, icu::UnicodeString& (icu::UnicodeString::*change)(const icu::Locale&)) {
  icu::UnicodeString unicode =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  (unicode.*change)(icu::Locale::getRoot());
  std::string out;
  unicode.toUTF8String(out);
  return out;
}
std::string upper(std::string_view text) { return changed_case(text, &icu::UnicodeString::toUpper); }
std::string lower(std::string_view text) { return changed_case(text, &icu::UnicodeString::toLower); }

std::string capitalized(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = utf8_length(text[0]);
  return upper(text.substr(0, first)) + lower(text.substr(first));
}

// Words begin where `begins` says so of the character before.
template <typename Begins>
std::string title(std::string_view text, Begins&& begins) {
  std::string out;
  bool begin = true;
  for (const auto character : characters(text)) {
    out += begin ? upper(character) : lower(character);
    size_t i = 0;
    begin = begins(next_code_point(character, i));
  }
  return out;
}

std::vector<std::string> lines_of(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = next_code_point(text, i);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.emplace_back(text.substr(begin, (keep_ends ? i : at) - begin));
    begin = i;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, int64_t count) {
  std::string out;
  size_t copied = 0;
  if (from.empty()) {  // between all characters, as in Python
    for (const auto character : characters(text)) {
      if (count-- != 0) out += to;
      else ++count;
      out += character;
    }
    return count != 0 ? out + to : out;
  }
  for (size_t at = text.find(from); at != std::string::npos && count != 0; at = text.find(from, copied), --count) {
    out.append(text, copied, at - copied);
    out += to;
    copied = at + from.size();
    if (out.size() > kMaxText) fail("a text longer than 64 MiB");
  }
  return out.append(text, copied);
}

List split(const std::string& text, const Value* separator, int64_t limit, bool from_right) {
  List parts;
  if (separator == nullptr || separator->is_none()) {
    std::string_view rest = strip(text, nullptr, true, true);
    while (!rest.empty()) {
      const auto all = characters(rest);
      const auto space = [](std::string_view character) {
        size_t i = 0;
        return is_python_space(next_code_point(character, i));
      };
      if (limit-- == 0) {
        parts.emplace_back(from_right ? rest : strip(rest, nullptr, true, false));
        break;
      }
      if (from_right) {
        const auto found = std::find_if(all.rbegin(), all.rend(), space);
        const size_t begin = found == all.rend() ? 0 : static_cast<size_t>(found->data() + found->size() - rest.data());
        parts.emplace_back(rest.substr(begin));
        rest = strip(rest.substr(0, begin), nullptr, false, true);
      } else {
        const auto found = std::find_if(all.begin(), all.end(), space);
        const size_t end = found == all.end() ? rest.size() : static_cast<size_t>(found->data() - rest.data());
        parts.emplace_back(rest.substr(0, end));
        rest = strip(rest.substr(end), nullptr, true, false);
      }
    }
    if (from_right) std::reverse(parts.begin(), parts.end());
    return parts;
  }
  if (!separator->is_text()) fail(std::string("the separator must be a text, not ") + separator->type_name());
  const std::string& by = separator->text();
  if (by.empty()) fail("empty separator");
  std::string_view rest = text;
  for (;;) {
    const size_t at = limit == 0 ? std::string_view::npos : from_right ? rest.rfind(by) : rest.find(by);
    if (at == std::string_view::npos) break;
    --limit;
    parts.emplace_back(from_right ? rest.substr(at + by.size()) : rest.substr(0, at));
    rest = from_right ? rest.substr(0, at) : rest.substr(at + by.size());
  }
  parts.emplace_back(rest);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string joined(const std::vector<std::string>& parts, const std::string& by) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) (out += i > 0 ? by : "") += parts[i];
  return out;
}

// Character index of byte `at`.
int64_t character_index(std::string_view text, size_t at) {
  return std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at),
                       [](char byte) { return !is_continuation_byte(byte); });
}

// ---- numbers ----

// The result of a computation by reference: it is written while `overflow` is found out.
int64_t checked(bool overflow, const int64_t& value) {
  if (overflow) fail("a whole number beyond 64 bits");
  return value;
}

std::optional<int64_t> whole_of_text(std::string_view text, int base) {
  text = strip(text, nullptr, true, true);
  std::string digits(text);
  if (digits.starts_with('+')) digits.erase(0, 1);
  if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X"))) digits.erase(0, 2);
  for (size_t i = 1; i + 1 < digits.size(); ++i)
    if (digits[i] == '_' && digits[i - 1] != '_') digits.erase(i, 1);
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, value, base);
  if (digits.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

std::optional<double> real_of_text(std::string_view text) {
  std::string number(strip(text, nullptr, true, true));
  const std::string low = lower(number);
  for (const char* word : {"inf", "+inf", "infinity", "+infinity"})
    if (low == word) return std::numeric_limits<double>::infinity();
  if (low == "-inf" || low == "-infinity") return -std::numeric_limits<double>::infinity();
  if (low == "nan" || low == "+nan" || low == "-nan") return std::numeric_limits<double>::quiet_NaN();
  if (number.starts_with('+')) number.erase(0, 1);
  double value = 0;
  const char* end = number.data() + number.size();
  const auto read = std::from_chars(number.data(), end, value);
  if (number.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

const Value& number(const Value& value, const char* what) {
  value.require_defined();
  if (!value.is_number()) fail(std::string(what) + " needs a number, not " + value.type_name());
  return value;
}

// Python's round: to the nearest, ties to even.
double rounded(double value, int64_t digits) {
  if (!std::isfinite(value)) return value;
  if (digits > 300) return value;
  if (digits < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / scale) * scale;
  }
  char text[800];
  std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), value);  // correctly rounded
  return std::strtod(text, nullptr);
}

// "%..": what str % values gives; the conversions that templates use.
std::string formatted(const std::string& format, const List& values, bool all_used = true) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    std::string spec = "%";
    size_t end = i + 1;
    while (end < format.size() && std::string_view("-+ #0123456789.").find(format[end]) != std::string_view::npos)
      spec += format[end++];
    if (end >= format.size()) fail("the format '" + format + "' ends inside a conversion");
    const char conversion = format[end];
    i = end;
    if (conversion == '%') {
      out += '%';
      continue;
    }
    if (spec.size() > 20 || std::string_view("srdifxX").find(conversion) == std::string_view::npos)
      fail("the conversion '" + spec + conversion + "' is not supported");
    if (next >= values.size()) fail("too few values for the format '" + format + "'");
    const Value& value = values[next++];
    if (conversion == 's' || conversion == 'r') {
      const std::string text = conversion == 's' ? str(value) : repr(value);
      if (spec == "%") {
        out += text;
        continue;
      }
      const bool left = spec.size() > 1 && spec[1] == '-';
      int64_t width = 0;
      const char* begin = spec.data() + (left ? 2 : 1);
      if (std::from_chars(begin, spec.data() + spec.size(), width).ptr != spec.data() + spec.size() || width > 10000)
        fail("the conversion '" + spec + conversion + "' is not supported");
      const auto size = static_cast<int64_t>(characters(text).size());
      const std::string pad(static_cast<size_t>(std::max<int64_t>(0, width - size)), ' ');
      out += left ? text + pad : pad + text;
      continue;
    }
    number(value, "a numeric conversion");
    char text[512];
    const size_t size = sizeof text;
    if (spec.size() > 8) fail("the conversion '" + spec + conversion + "' is not supported");
    if (conversion == 'f') {
      std::snprintf(text, size, (spec + 'f').c_str(), value.real());
    } else {
      if ((conversion == 'x' || conversion == 'X') && !value.is_whole()) fail("'%x' needs a whole number");
      const auto whole = value.is_whole() ? value.whole() : static_cast<int64_t>(value.real());
      std::snprintf(text, size, (spec + "ll" + (conversion == 'i' ? 'd' : conversion)).c_str(),
                    static_cast<long long>(whole));
    }
    out += text;
  }
  if (all_used && next < values.size()) fail("too many values for the format '" + format + "'");
  return out;
}

// ---- sorting and looking up ----

Value without_case(const Value& value, bool case_sensitive) {
  return value.is_text() && !case_sensitive ? Value(lower(value.text())) : value;
}

// The item at a path like "function.name" or "0"; an absent path is the value itself. `absent` stands for each step
// that leads nowhere.
Value at_path(const Value& value, const Value* path, const Value* absent = nullptr) {
  const auto step = [&](const Value& from, const Value& key) {
    Value found = item(from, key);
    return found.is_undefined() && absent != nullptr ? *absent : found;
  };
  if (path == nullptr || path->is_none()) return value;
  if (path->is_whole()) return step(value, *path);
  if (!path->is_text()) fail(std::string("attribute must be a text or a whole number, not ") + path->type_name());
  Value found = value;
  const Value dot(".");
  for (const Value& part : split(path->text(), &dot, -1, false)) {
    const auto index = whole_of_text(part.text(), 10);
    found = step(found, index && *index >= 0 ? Value(*index) : part);
  }
  return found;
}

List sorted(List list, bool reverse, const std::function<Value(const Value&)>& key) {
  const auto less = [&](const Value& a, const Value& b) {
    return reverse ? compare(key(b), key(a)) < 0 : compare(key(a), key(b)) < 0;
  };
  std::stable_sort(list.begin(), list.end(), less);
  return list;
}

Arguments rest_of(const Arguments& arguments, size_t from) {
  Arguments rest;
  if (arguments.positional.size() > from)
    rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(from),
                           arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

// select, reject, selectattr, rejectattr.
Value chosen(const std::string& filter, const Value& value, const Arguments& arguments) {
  const bool by_attribute = filter.ends_with("attr");
  const bool keep = filter.starts_with("select");
  if (by_attribute && arguments.positional.empty()) fail("the filter '" + filter + "' needs the name of an attribute");
  const size_t test_at = by_attribute ? 1 : 0;
  std::string test;
  if (arguments.positional.size() > test_at) {
    test = str(arguments.positional[test_at]);
    if (!is_test(test)) fail("the test '" + test + "' is not supported");
  }
  const Arguments rest = rest_of(arguments, test_at + 1);
  List out;
  if (!value.truth()) return Value::lazy({});
  for (const Value& one : items_of(value)) {
    const Value looked_at = by_attribute ? at_path(one, arguments.positional.data()) : one;
    if ((test.empty() ? looked_at.truth() : apply_test(test, looked_at, rest)) == keep) out.push_back(one);
  }
  return Value::lazy(std::move(out));
}

Value mapped(const Value& value, const Arguments& arguments) {
  List out;
  if (arguments.positional.empty()) {
    const Reader reader("map", arguments, {"attribute", "default"});
    if (!value.truth()) return Value::lazy({});
    for (const Value& one : items_of(value)) out.push_back(at_path(one, &reader.need(0), reader.get(1)));
    return Value::lazy(std::move(out));
  }
  const std::string filter = str(arguments.positional[0]);
  if (!is_filter(filter)) fail("the filter '" + filter + "' is not supported");
  if (!value.truth()) return Value::lazy({});
  for (const Value& one : items_of(value)) out.push_back(apply_filter(filter, one, rest_of(arguments, 1)));
  return Value::lazy(std::move(out));
}

Value as_json(const Value& value, const Arguments& arguments) {
  const Reader reader("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = reader.truth(0, false);
  if (reader.get(1) != nullptr && !reader.get(1)->is_none()) {
    style.indent = static_cast<int>(std::clamp<int64_t>(reader.whole(1, 0), 0, 100));
  }
  style.item_separator = style.indent >= 0 ? "," : ", ";
  style.key_separator = ": ";
  if (const Value* separators = reader.get(2); separators != nullptr && !separators->is_none()) {
    if (!separators->is_list() || separators->list().size() != 2) fail("separators of tojson must be two texts");
    style.item_separator = str(separators->list()[0]);
    style.key_separator = str(separators->list()[1]);
  }
  style.sort_keys = reader.truth(3, false);
  value.require_defined();
  return json_text(value, style);
}

int64_t length(const Value& value) {
  if (value.is_text()) return character_index(value.text(), value.text().size());
  if ((value.is_list() && !value.is_lazy()) || value.is_dict() || value.is_undefined())
    return static_cast<int64_t>(items_of(value).size());
  fail(std::string("a value of type ") + value.type_name() + " has no length");
}

std::string indented(const std::string& text, const Arguments& arguments) {
  const Reader reader("indent", arguments, {"width", "first", "blank"});
  const std::string by = reader.get(0) != nullptr && reader.get(0)->is_text()
                             ? reader.text(0)
                             : std::string(static_cast<size_t>(std::clamp<int64_t>(reader.whole(0, 4), 0, 1000)), ' ');
  std::vector<std::string> lines = lines_of(text + "\n", false);
  for (size_t i = 1; i < lines.size(); ++i)
    if (reader.truth(2, false) || !lines[i].empty()) lines[i] = by + lines[i];
  return (reader.truth(1, false) ? by : "") + joined(lines, "\n");
}

using Filter = Value (*)(const Value&, const Arguments&);

void none(const char* filter, const Arguments& arguments) { Reader(filter, arguments, {}); }

Value extreme(const char* filter, const Value& value, const Arguments& arguments, int sign) {
  const Reader reader(filter, arguments, {"case_sensitive", "attribute"});
  const List list = items_of(value);
  if (list.empty()) return Undefined{"item of an empty sequence"};
  const auto key = [&](const Value& one) { return without_case(at_path(one, reader.get(1)), reader.truth(0, false)); };
  const Value* best = &list[0];
  for (const Value& one : list)
    if (compare(key(one), key(*best)) * sign > 0) best = &one;
  return *best;
}

const std::map<std::string, Filter>& filters() {
  static const std::map<std::string, Filter> table = [] {
    std::map<std::string, Filter> all;
    all["abs"] = [](const Value& v, const Arguments& a) -> Value {
      none("abs", a);
      number(v, "abs");
      if (v.is_whole()) return checked(v.whole() == INT64_MIN, std::abs(v.whole()));
      return std::fabs(v.real());
    };
    all["attr"] = [](const Value& v, const Arguments& a) -> Value {
      return attribute(v, Reader("attr", a, {"name"}).text(0));
    };
    all["capitalize"] = [](const Value& v, const Arguments& a) -> Value {
      none("capitalize", a);
      return capitalized(str(v));
    };
    all["default"] = all["d"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("default", a, {"default_value", "boolean"});
      const bool use = v.is_undefined() || (reader.truth(1, false) && !v.truth());
      return use ? reader.get(0) != nullptr ? *reader.get(0) : Value("") : v;
    };
    all["dictsort"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("dictsort", a, {"case_sensitive", "by", "reverse"});
      const std::string by = reader.get(1) != nullptr ? reader.text(1) : "key";
      if (by != "key" && by != "value") fail("dictsort sorts by \"key\" or \"value\"");
      v.require_defined();
      if (!v.is_dict()) fail(std::string("dictsort needs a dict, not ") + v.type_name());
      List entries;
      for (const auto& [key, value] : v.dict()) entries.push_back(Value(List{key, value}, true));
      return sorted(std::move(entries), reader.truth(2, false), [&](const Value& entry) {
        return without_case(entry.list()[by == "key" ? 0 : 1], reader.truth(0, false));
      });
    };
    all["first"] = [](const Value& v, const Arguments& a) -> Value {
      none("first", a);
      const List list = items_of(v);
      return list.empty() ? Value(Undefined{"first item of an empty sequence"}) : list.front();
    };
    all["float"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("float", a, {"default"});
      const Value absent = reader.get(0) != nullptr ? *reader.get(0) : Value(0.0);
      v.require_defined();
      if (v.is_number()) return v.real();
      if (!v.is_text()) return absent;
      const auto read = real_of_text(v.text());
      return read ? Value(*read) : absent;
    };
    all["format"] = [](const Value& v, const Arguments& a) -> Value {
      if (!a.named.empty()) fail("named values of the filter 'format' are not supported");
      return formatted(str(v), a.positional);
    };
    all["indent"] = [](const Value& v, const Arguments& a) -> Value {
      v.require_defined();
      if (!v.is_text()) fail(std::string("indent needs a text, not ") + v.type_name());
      return indented(v.text(), a);
    };
    all["int"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("int", a, {"default", "base"});
      const Value absent = reader.get(0) != nullptr ? *reader.get(0) : Value(int64_t{0});
      v.require_defined();
      std::optional<double> real;
      if (v.is_whole()) return v.whole();
      if (v.is<double>()) real = v.real();
      if (v.is_text()) {
        const int64_t base = reader.whole(1, 10);
        if (base < 2 || base > 36) fail("a base of " + std::to_string(base) + " is not supported");
        if (const auto whole = whole_of_text(v.text(), static_cast<int>(base))) return *whole;
        real = real_of_text(v.text());
      }
      if (!real || !std::isfinite(*real)) return absent;
      return checked(std::fabs(*real) >= 9.2e18, static_cast<int64_t>(*real));
    };
    all["items"] = [](const Value& v, const Arguments& a) -> Value {
      none("items", a);
      if (v.is_undefined()) return List{};
      if (!v.is_dict()) fail(std::string("items needs a dict, not ") + v.type_name());
      List entries;
      for (const auto& [key, value] : v.dict()) entries.push_back(Value(List{key, value}, true));
      return Value::lazy(std::move(entries));
    };
    all["join"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("join", a, {"d", "attribute"});
      std::vector<std::string> parts;
      for (const Value& one : items_of(v)) parts.push_back(str(at_path(one, reader.get(1))));
      return joined(parts, reader.get(0) != nullptr ? str(*reader.get(0)) : "");
    };
    all["last"] = [](const Value& v, const Arguments& a) -> Value {
      none("last", a);
      const List list = items_of(v);
      return list.empty() ? Value(Undefined{"last item of an empty sequence"}) : list.back();
    };
    all["length"] = all["count"] = [](const Value& v, const Arguments& a) -> Value {
      none("length", a);
      return length(v);
    };
    all["list"] = [](const Value& v, const Arguments& a) -> Value {
      none("list", a);
      return items_of(v);
    };
    all["lower"] = [](const Value& v, const Arguments& a) -> Value {
      none("lower", a);
      return lower(str(v));
    };
    all["map"] = mapped;
    all["max"] = [](const Value& v, const Arguments& a) -> Value { return extreme("max", v, a, 1); };
    all["min"] = [](const Value& v, const Arguments& a) -> Value { return extreme("min", v, a, -1); };
    all["select"] = [](const Value& v, const Arguments& a) -> Value { return chosen("select", v, a); };
    all["reject"] = [](const Value& v, const Arguments& a) -> Value { return chosen("reject", v, a); };
    all["selectattr"] = [](const Value& v, const Arguments& a) -> Value { return chosen("selectattr", v, a); };
    all["rejectattr"] = [](const Value& v, const Arguments& a) -> Value { return chosen("rejectattr", v, a); };
    all["replace"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("replace", a, {"old", "new", "count"});
      const Value* count = reader.get(2);
      return replaced(str(v), str(reader.need(0)), str(reader.need(1)),
                      count == nullptr || count->is_none() ? -1 : reader.whole(2, -1));
    };
    all["reverse"] = [](const Value& v, const Arguments& a) -> Value {
      none("reverse", a);
      List list = items_of(v);
      std::reverse(list.begin(), list.end());
      if (!v.is_text()) return Value::lazy(std::move(list));
      std::string text;
      for (const Value& one : list) text += one.text();
      return text;
    };
    all["round"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("round", a, {"precision", "method"});
      number(v, "round");
      const int64_t digits = reader.whole(0, 0);
      const std::string method = reader.get(1) != nullptr ? reader.text(1) : "common";
      if (method == "common") {
        if (v.is_whole() && digits >= 0) return v.whole();
        if (v.is_whole()) return static_cast<int64_t>(rounded(v.real(), digits));
        return rounded(v.real(), digits);
      }
      if (method != "ceil" && method != "floor") fail("the method of round must be common, ceil or floor");
      const double scale = std::pow(10.0, static_cast<double>(digits));
      return (method == "ceil" ? std::ceil(v.real() * scale) : std::floor(v.real() * scale)) / scale;
    };
    all["safe"] = [](const Value& v, const Arguments& a) -> Value {
      none("safe", a);
      return str(v);
    };
    all["sort"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("sort", a, {"reverse", "case_sensitive", "attribute"});
      List paths = {Value()};
      const Value comma(",");
      if (reader.get(2) != nullptr)
        paths = reader.get(2)->is_text() ? split(reader.text(2), &comma, -1, false) : List{*reader.get(2)};
      // A list of keys even where there is one: two undefined ones are equal and need no order.
      return sorted(items_of(v), reader.truth(0, false), [&](const Value& one) -> Value {
        List keys;
        for (const Value& path : paths) keys.push_back(without_case(at_path(one, &path), reader.truth(1, false)));
        return keys;
      });
    };
    all["string"] = [](const Value& v, const Arguments& a) -> Value {
      none("string", a);
      return str(v);
    };
    all["sum"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("sum", a, {"attribute", "start"});
      Value sum = reader.get(1) != nullptr ? *reader.get(1) : Value(int64_t{0});
      for (const Value& one : items_of(v)) sum = arithmetic("+", sum, at_path(one, reader.get(0)));
      return sum;
    };
    all["title"] = [](const Value& v, const Arguments& a) -> Value {
      none("title", a);
      return title(str(v), [](char32_t c) {
        return is_python_space(c) || std::u32string_view(U"-({[<").find(c) != std::u32string_view::npos;
      });
    };
    all["tojson"] = as_json;
    all["trim"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("trim", a, {"chars"});
      if (reader.get(0) == nullptr || reader.get(0)->is_none()) return strip(str(v), nullptr, true, true);
      const std::string of = reader.text(0);
      return strip(str(v), &of, true, true);
    };
    all["unique"] = [](const Value& v, const Arguments& a) -> Value {
      const Reader reader("unique", a, {"case_sensitive", "attribute"});
      List out, seen;
      for (const Value& one : items_of(v)) {
        Value key = without_case(at_path(one, reader.get(1)), reader.truth(0, false));
        if (contains(Value(seen), key)) continue;
        seen.push_back(std::move(key));
        out.push_back(one);
      }
      return Value::lazy(std::move(out));
    };
    all["upper"] = [](const Value& v, const Arguments& a) -> Value {
      none("upper", a);
      return upper(str(v));
    };
    return all;
  }();
  return table;
}

// ---- tests ----

using Test = bool (*)(const Value&, const Arguments&);

const Value& other(const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) fail("a test that compares needs one value");
  return arguments.positional[0];
}

const std::map<std::string, Test>& tests() {
  static const std::map<std::string, Test> table = [] {
    std::map<std::string, Test> all;
    all["defined"] = [](const Value& v, const Arguments&) { return !v.is_undefined(); };
    all["undefined"] = [](const Value& v, const Arguments&) { return v.is_undefined(); };
    all["none"] = [](const Value& v, const Arguments&) { return v.is_none(); };
    all["boolean"] = [](const Value& v, const Arguments&) { return v.is<bool>(); };
    all["true"] = [](const Value& v, const Arguments&) { return v.is<bool>() && v.truth(); };
    all["false"] = [](const Value& v, const Arguments&) { return v.is<bool>() && !v.truth(); };
    all["integer"] = [](const Value& v, const Arguments&) { return v.is<int64_t>(); };
    all["float"] = [](const Value& v, const Arguments&) { return v.is<double>(); };
    all["number"] = [](const Value& v, const Arguments&) { return v.is_number(); };
    all["string"] = [](const Value& v, const Arguments&) { return v.is_text(); };
    all["mapping"] = [](const Value& v, const Arguments&) { return v.is_dict(); };
    all["sequence"] = [](const Value& v, const Arguments&) {
      return v.is_text() || (v.is_list() && !v.is_lazy()) || v.is_dict() || v.is_undefined();
    };
    all["iterable"] = [](const Value& v, const Arguments&) {
      return v.is_text() || v.is_list() || v.is_dict() || v.is_undefined();
    };
    all["callable"] = [](const Value& v, const Arguments&) { return v.is_function() || v.is_undefined(); };
    all["odd"] = [](const Value& v, const Arguments&) { return arithmetic("%", v, int64_t{2}).real() == 1; };
    all["even"] = [](const Value& v, const Arguments&) { return arithmetic("%", v, int64_t{2}).real() == 0; };
    all["divisibleby"] = [](const Value& v, const Arguments& a) { return arithmetic("%", v, other(a)).real() == 0; };
    all["lower"] = [](const Value& v, const Arguments&) {
      const auto s = str(v);
      return lower(s) == s && upper(s) != s;
    };
    all["upper"] = [](const Value& v, const Arguments&) {
      const auto s = str(v);
      return upper(s) == s && lower(s) != s;
    };
    all["in"] = [](const Value& v, const Arguments& a) { return contains(other(a), v); };
    all["sameas"] = [](const Value& v, const Arguments& a) {
      return v.held().index() == other(a).held().index() && equal(v, other(a));
    };
    all["eq"] = all["equalto"] = all["=="] = [](const Value& v, const Arguments& a) { return equal(v, other(a)); };
    all["ne"] = all["!="] = [](const Value& v, const Arguments& a) { return !equal(v, other(a)); };
    all["lt"] = all["lessthan"] =
        all["<"] = [](const Value& v, const Arguments& a) { return compare(v, other(a)) < 0; };
    all["le"] = all["<="] = [](const Value& v, const Arguments& a) { return compare(v, other(a)) <= 0; };
    all["gt"] = all["greaterthan"] =
        all[">"] = [](const Value& v, const Arguments& a) { return compare(v, other(a)) > 0; };
    all["ge"] = all[">="] = [](const Value& v, const Arguments& a) { return compare(v, other(a)) >= 0; };
    all["filter"] = [](const Value& v, const Arguments&) { return is_filter(str(v)); };
    all["test"] = [](const Value& v, const Arguments&) { return is_test(str(v)); };
    return all;
  }();
  return table;
}

// ---- methods ----

template <typename Holds>
bool all_characters(const std::string& text, Holds&& holds) {
  if (text.empty()) return false;
  for (size_t i = 0; i < text.size();)
    if (!holds(static_cast<UChar32>(next_code_point(text, i)))) return false;
  return true;
}

bool affix(const std::string& text, const Value& part, bool at_start) {
  if (part.is_list())
    return std::any_of(part.list().begin(), part.list().end(),
                       [&](const Value& one) { return affix(text, one, at_start); });
  part.require_defined();
  if (!part.is_text()) fail(std::string("startswith and endswith need a text, not ") + part.type_name());
  return at_start ? text.starts_with(part.text()) : text.ends_with(part.text());
}

using Method = Value (*)(const std::string&, const Arguments&);

const std::map<std::string, Method>& text_methods() {
  static const std::map<std::string, Method> table = [] {
    std::map<std::string, Method> all;
    const auto stripped = [](const std::string& s, const Arguments& a, bool left, bool right) -> Value {
      const Reader reader("strip", a, {"chars"});
      if (reader.get(0) == nullptr || reader.get(0)->is_none()) return strip(s, nullptr, left, right);
      const std::string of = reader.text(0);
      return strip(s, &of, left, right);
    };
    static const auto shared_strip = stripped;
    all["strip"] = [](const std::string& s, const Arguments& a) { return shared_strip(s, a, true, true); };
    all["lstrip"] = [](const std::string& s, const Arguments& a) { return shared_strip(s, a, true, false); };
    all["rstrip"] = [](const std::string& s, const Arguments& a) { return shared_strip(s, a, false, true); };
    all["split"] = [](const std::string& s, const Arguments& a) -> Value {
      const Reader reader("split", a, {"sep", "maxsplit"});
      return split(s, reader.get(0), reader.whole(1, -1), false);
    };
    all["rsplit"] = [](const std::string& s, const Arguments& a) -> Value {
      const Reader reader("rsplit", a, {"sep", "maxsplit"});
      return split(s, reader.get(0), reader.whole(1, -1), true);
    };
    all["splitlines"] = [](const std::string& s, const Arguments& a) -> Value {
      List lines;
      for (auto& line : lines_of(s, Reader("splitlines", a, {"keepends"}).truth(0, false)))
        lines.emplace_back(std::move(line));
      return lines;
    };
    all["startswith"] = [](const std::string& s, const Arguments& a) -> Value {
      return affix(s, Reader("startswith", a, {"prefix"}).need(0), true);
    };
    all["endswith"] = [](const std::string& s, const Arguments& a) -> Value {
      return affix(s, Reader("endswith", a, {"suffix"}).need(0), false);
    };
    all["removeprefix"] = [](const std::string& s, const Arguments& a) -> Value {
      const std::string part = Reader("removeprefix", a, {"prefix"}).text(0);
      return s.starts_with(part) ? s.substr(part.size()) : s;
    };
    all["removesuffix"] = [](const std::string& s, const Arguments& a) -> Value {
      const std::string part = Reader("removesuffix", a, {"suffix"}).text(0);
      return s.ends_with(part) ? s.substr(0, s.size() - part.size()) : s;
    };
    all["replace"] = [](const std::string& s, const Arguments& a) -> Value {
      const Reader reader("replace", a, {"old", "new", "count"});
      return replaced(s, reader.text(0), reader.text(1), reader.whole(2, -1));
    };
    all["upper"] = [](const std::string& s, const Arguments&) -> Value { return upper(s); };
    all["lower"] = [](const std::string& s, const Arguments&) -> Value { return lower(s); };
    all["capitalize"] = [](const std::string& s, const Arguments&) -> Value { return capitalized(s); };
    all["title"] = [](const std::string& s, const Arguments&) -> Value {
      return title(s, [](char32_t c) { return !u_isUAlphabetic(static_cast<UChar32>(c)); });
    };
    all["find"] = [](const std::string& s, const Arguments& a) -> Value {
      const size_t at = s.find(Reader("find", a, {"sub"}).text(0));
      return at == std::string::npos ? int64_t{-1} : character_index(s, at);
    };
    all["rfind"] = [](const std::string& s, const Arguments& a) -> Value {
      const size_t at = s.rfind(Reader("rfind", a, {"sub"}).text(0));
      return at == std::string::npos ? int64_t{-1} : character_index(s, at);
    };
    all["index"] = [](const std::string& s, const Arguments& a) -> Value {
      const size_t at = s.find(Reader("index", a, {"sub"}).text(0));
      if (at == std::string::npos) fail("substring not found");
      return character_index(s, at);
    };
    all["count"] = [](const std::string& s, const Arguments& a) -> Value {
      const std::string part = Reader("count", a, {"sub"}).text(0);
      if (part.empty()) return character_index(s, s.size()) + 1;
      int64_t count = 0;
      for (size_t at = s.find(part); at != std::string::npos; at = s.find(part, at + part.size())) ++count;
      return count;
    };
    all["join"] = [](const std::string& s, const Arguments& a) -> Value {
      std::vector<std::string> parts;
      for (const Value& one : items_of(Reader("join", a, {"iterable"}).need(0))) {
        if (!one.is_text()) fail(std::string("join needs texts, not ") + one.type_name());
        parts.push_back(one.text());
      }
      return joined(parts, s);
    };
    all["partition"] = [](const std::string& s, const Arguments& a) -> Value {
      const std::string by = Reader("partition", a, {"sep"}).text(0);
      if (by.empty()) fail("empty separator");
      const size_t at = s.find(by);
      if (at == std::string::npos) return Value(List{s, "", ""}, true);
      return Value(List{s.substr(0, at), by, s.substr(at + by.size())}, true);
    };
    all["rpartition"] = [](const std::string& s, const Arguments& a) -> Value {
      const std::string by = Reader("rpartition", a, {"sep"}).text(0);
      if (by.empty()) fail("empty separator");
      const size_t at = s.rfind(by);
      if (at == std::string::npos) return Value(List{"", "", s}, true);
      return Value(List{s.substr(0, at), by, s.substr(at + by.size())}, true);
    };
    all["isspace"] = [](const std::string& s, const Arguments&) -> Value {
      return all_characters(s, [](UChar32 c) { return is_python_space(static_cast<char32_t>(c)); });
    };
    all["isdigit"] = [](const std::string& s, const Arguments&) -> Value {
      return all_characters(s, [](UChar32 c) {
        const int type = u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE);
        return type == U_NT_DECIMAL || type == U_NT_DIGIT;
      });
    };
    all["isalpha"] = [](const std::string& s, const Arguments&) -> Value {
      return all_characters(s, [](UChar32 c) { return u_isalpha(c) != 0; });
    };
    all["isalnum"] = [](const std::string& s, const Arguments&) -> Value {
      return all_characters(
          s, [](UChar32 c) { return u_isalpha(c) || u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE) != U_NT_NONE; });
    };
    all["isupper"] = [](const std::string& s, const Arguments&) -> Value { return upper(s) == s && lower(s) != s; };
    all["islower"] = [](const std::string& s, const Arguments&) -> Value { return lower(s) == s && upper(s) != s; };
    return all;
  }();
  return table;
}

// What Python has and this has not: named when used, never silently undefined.
constexpr const char* kOtherTextMethods[] = {"casefold",    "center",   "encode",    "expandtabs",   "format",
                                             "format_map",  "isascii",  "isdecimal", "isidentifier", "isnumeric",
                                             "isprintable", "istitle",  "ljust",     "maketrans",    "rindex",
                                             "rjust",       "swapcase", "translate", "zfill"};
constexpr const char* kChangingMethods[] = {"append", "extend", "insert", "pop",     "remove",    "reverse",
                                            "sort",   "clear",  "update", "popitem", "setdefault"};

std::optional<Value> method(const Value& value, const std::string& name) {
  if (value.is_text()) {
    const auto found = text_methods().find(name);
    if (found != text_methods().end())
      return Value(Function([text = value.text(), call = found->second](const Arguments& a) { return call(text, a); }));
    for (const char* known : kOtherTextMethods)
      if (name == known) fail("the method '" + name + "' of a text is not supported");
    return std::nullopt;
  }
  if ((!value.is_list() && !value.is_dict()) || value.is_lazy()) return std::nullopt;
  for (const char* known : kChangingMethods)
    if (name == known && (value.is_dict() || !value.sequence().is_tuple) &&
        (value.is_list() || (name != "append" && name != "extend" && name != "insert" && name != "remove" &&
                             name != "reverse" && name != "sort")))
      return Value(Function([name, type = std::string(value.type_name())](const Arguments&) -> Value {
        fail("the method '" + name + "' would change a " + type + ", which templates may not do");
      }));
  if (value.is_list()) {
    if (name == "index")
      return Value(Function([value](const Arguments& a) -> Value {
        const Value what = Reader("index", a, {"value"}).need(0);
        for (size_t i = 0; i < value.list().size(); ++i)
          if (equal(value.list()[i], what)) return static_cast<int64_t>(i);
        fail(repr(what) + " is not in the list");
      }));
    if (name == "count")
      return Value(Function([value](const Arguments& a) -> Value {
        const Value what = Reader("count", a, {"value"}).need(0);
        return static_cast<int64_t>(std::count_if(value.list().begin(), value.list().end(),
                                                  [&](const Value& one) { return equal(one, what); }));
      }));
    if (name == "copy") return Value(Function([value](const Arguments&) { return value; }));
    return std::nullopt;
  }
  if (name == "get")
    return Value(Function([value](const Arguments& a) -> Value {
      const Reader reader("get", a, {"key", "default"});
      const Value* found = find(value.dict(), reader.need(0));
      return found != nullptr ? *found : reader.get(1) != nullptr ? *reader.get(1) : Value();
    }));
  if (name == "items")
    return Value(Function([value](const Arguments& a) -> Value { return items_of(apply_filter("items", value, a)); }));
  if (name == "keys") return Value(Function([value](const Arguments&) -> Value { return items_of(value); }));
  if (name == "values")
    return Value(Function([value](const Arguments&) -> Value {
      List values;
      for (const auto& entry : value.dict()) values.push_back(entry.second);
      return values;
    }));
  if (name == "copy") return Value(Function([value](const Arguments&) { return value; }));
  return std::nullopt;
}

std::optional<Value> item_if(const Value& value, const Value& key) {
  if (value.is_dict()) {
    const Value* found = find(value.dict(), key);
    if (found != nullptr) return *found;
  } else if (value.is_namespace()) {
    const Value* found = find(value.space().fields, key);
    if (found != nullptr) return *found;
  } else if ((value.is_list() || value.is_text()) && !value.is_lazy() && key.is_whole()) {
    const List items = value.is_text() ? items_of(value) : List();
    const List& list = value.is_text() ? items : value.list();
    const auto size = static_cast<int64_t>(list.size());
    const int64_t at = key.whole() < 0 ? key.whole() + size : key.whole();
    if (at >= 0 && at < size) return list[static_cast<size_t>(at)];
  }
  return std::nullopt;
}

}  // namespace

bool is_filter(const std::string& name) { return filters().contains(name); }
bool is_test(const std::string& name) { return tests().contains(name); }
bool is_unsupported_function(const std::string& name) {
  return name == "lipsum" || name == "cycler" || name == "joiner";
}

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  return filters().at(name)(value, arguments);
}
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  return tests().at(name)(value, arguments);
}

Dict global_functions(std::time_t now) {
  const auto fields = [](const Arguments& arguments) {
    Dict dict;
    for (const Value& one : arguments.positional) {
      if (!one.is_dict()) fail("only a dict can be given to namespace and dict without a name");
      for (const auto& [key, value] : one.dict()) set(dict, key, value);
    }
    for (const auto& [key, value] : arguments.named) set(dict, key, value);
    return dict;
  };
  Dict globals;
  globals.emplace_back("raise_exception", Function([](const Arguments& a) -> Value {
                         fail("the template refuses: " + str(Reader("raise_exception", a, {"message"}).need(0)));
                       }));
  globals.emplace_back("strftime_now", Function([now](const Arguments& a) -> Value {
                         const std::string format = Reader("strftime_now", a, {"format"}).text(0);
                         std::tm local{};
                         localtime_r(&now, &local);
                         std::string text(format.size() * 20 + 200, '\0');
                         text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
                         return text;
                       }));
  globals.emplace_back("namespace", Function([fields](const Arguments& a) -> Value {
                         return std::make_shared<Value::Namespace>(Value::Namespace{fields(a)});
                       }));
  globals.emplace_back("dict", Function([fields](const Arguments& a) -> Value { return fields(a); }));
  globals.emplace_back("range", Function([](const Arguments& a) -> Value {
                         const Reader reader("range", a, {"start", "stop", "step"});
                         const bool one = reader.get(1) == nullptr;
                         const int64_t begin = one ? 0 : reader.whole(0, 0);
                         reader.need(0);
                         const int64_t end = reader.whole(one ? 0 : 1, 0);
                         const int64_t step = reader.whole(2, 1);
                         if (step == 0) fail("the step of range must not be 0");
                         List list;
                         for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
                           if (static_cast<int64_t>(list.size()) >= kMaxRange)
                             fail("a range of more than 100000 numbers");
                           list.emplace_back(i);
                         }
                         return list;
                       }));
  return globals;
}

Value attribute(const Value& value, const std::string& name) {
  value.require_defined();
  if (auto found = method(value, name)) return *found;
  if (auto found = item_if(value, name)) return *found;
  return Undefined{name};
}

Value item(const Value& value, const Value& key) {
  value.require_defined();
  if (auto found = item_if(value, key)) return *found;
  if (key.is_text())
    if (auto found = method(value, key.text())) return *found;
  return Undefined{str(key)};
}

Value slice(const Value& value, const Value& begin, const Value& end, const Value& step) {
  value.require_defined();
  if ((!value.is_list() && !value.is_text()) || value.is_lazy())
    fail(std::string("a value of type ") + value.type_name() + " cannot be sliced");
  for (const Value* part : {&begin, &end, &step}) {
    part->require_defined();
    if (!part->is_none() && !part->is_whole())
      fail(std::string("the bounds of a slice must be whole numbers, not ") + part->type_name());
  }
  const List list = items_of(value);
  const auto size = static_cast<int64_t>(list.size());
  const int64_t by = step.is_none() ? 1 : step.whole();
  if (by == 0) fail("the step of a slice must not be 0");
  const auto bound = [&](const Value& part, int64_t absent) {
    if (part.is_none()) return absent;
    const int64_t at = part.whole() < 0 ? part.whole() + size : part.whole();
    return by > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t from = bound(begin, by > 0 ? 0 : size - 1);
  const int64_t to = bound(end, by > 0 ? size : -1);
  List out;
  for (int64_t i = from; by > 0 ? i < to : i > to; i += by) {
    out.push_back(list[static_cast<size_t>(i)]);
    if (by > size || by < -size) break;
  }
  if (value.is_list()) return Value(std::move(out), value.sequence().is_tuple);
  std::string text;
  for (const Value& one : out) text += one.text();
  return text;
}

Value arithmetic(const std::string& operation, const Value& a, const Value& b) {
  if (operation == "~") return str(a) + str(b);
  a.require_defined();
  b.require_defined();
  const auto refuse = [&]() -> Value {
    fail("'" + operation + "' does not go with " + a.type_name() + " and " + b.type_name());
  };
  if (operation == "%" && a.is_text())
    return formatted(a.text(), b.is_list() && b.sequence().is_tuple ? b.list() : List{b},
                     !b.is_dict() && (!b.is_list() || b.sequence().is_tuple));
  if (operation == "+" && a.is_text() && b.is_text()) return a.text() + b.text();
  if ((a.is_lazy() || b.is_lazy()) && operation != "%") return refuse();
  if (operation == "+" && a.is_list() && b.is_list() && a.sequence().is_tuple == b.sequence().is_tuple) {
    List both = a.list();
    both.insert(both.end(), b.list().begin(), b.list().end());
    return Value(std::move(both), a.sequence().is_tuple);
  }
  if (operation == "*" && (b.is_text() || b.is_list()) && a.is_whole()) return arithmetic("*", b, a);
  if (operation == "*" && (a.is_text() || a.is_list()) && b.is_whole()) {
    const auto times = static_cast<size_t>(std::max<int64_t>(0, b.whole()));
    const size_t size = a.is_text() ? a.text().size() : a.list().size();
    if (size > 0 && times > kMaxText / size) fail("the result of '*' is too large");
    if (a.is_text()) {
      std::string text;
      for (size_t i = 0; i < times; ++i) text += a.text();
      return text;
    }
    List list;
    for (size_t i = 0; i < times; ++i) list.insert(list.end(), a.list().begin(), a.list().end());
    return Value(std::move(list), a.sequence().is_tuple);
  }
  if (!a.is_number() || !b.is_number()) return refuse();
  if (operation == "/") {
    if (b.real() == 0) fail("division by zero");
    return a.real() / b.real();
  }
  if (a.is_whole() && b.is_whole()) {
    const int64_t x = a.whole(), y = b.whole();
    int64_t result = 0;
    if (operation == "+") return checked(__builtin_add_overflow(x, y, &result), result);
    if (operation == "-") return checked(__builtin_sub_overflow(x, y, &result), result);
    if (operation == "*") return checked(__builtin_mul_overflow(x, y, &result), result);
    if (operation == "**" && y >= 0) {
      result = 1;
      for (int64_t i = 0; i < y; ++i) {
        if (__builtin_mul_overflow(result, x, &result)) fail("a whole number beyond 64 bits");
        if (i > 64 && (result == 0 || result == 1)) return y % 2 == 0 || x != -1 ? result : -result;
        if (i > 64 && result == -1) return y % 2 == 0 ? int64_t{1} : int64_t{-1};
      }
      return result;
    }
    if (operation == "//" || operation == "%") {
      if (y == 0) fail("division by zero");
      if (y == -1) return operation == "%" ? int64_t{0} : checked(x == INT64_MIN, -x);
      const int64_t quotient = x / y - ((x % y != 0 && (x < 0) != (y < 0)) ? 1 : 0);
      return operation == "//" ? quotient : x - quotient * y;
    }
  }
  const double x = a.real(), y = b.real();
  if (operation == "+") return x + y;
  if (operation == "-") return x - y;
  if (operation == "*") return x * y;
  if (operation == "**") return std::pow(x, y);
  if (y == 0) fail("division by zero");
  double rest = std::fmod(x, y);
  if (rest != 0 && (rest < 0) != (y < 0)) rest += y;
  if (operation == "%") return rest;
  return std::floor((x - rest) / y + 0.5);
}

}  // namespace fare::chat
