#include "fare/tokenizer/chat/value.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "fare/tokenizer/unicode.h"

namespace fare::chat {
namespace {

template <typename Number>
int order(const Number& a, const Number& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

std::string hex_escape(const char* form, char32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, form, static_cast<unsigned>(c));
  return text;
}

// What Python's repr leaves as it is: no separators but the space, nothing of the categories C.
bool is_printable(char32_t c) {
  if (c == ' ') return true;
  constexpr int kCn = 0, kZs = 12, kZl = 13, kZp = 14, kCc = 15, kCf = 16, kCo = 17, kCs = 18;  // ICU's UCharCategory
  const int category = general_category(c, 15);
  for (const int bad : {kCn, kZs, kZl, kZp, kCc, kCf, kCo, kCs})
    if (category == bad) return false;
  return true;
}

std::string quoted(const std::string& text) {
  const bool double_quotes = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    if (c == static_cast<char32_t>(quote) || c == '\\') (out += '\\') += static_cast<char>(c);
    else if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (c == '\t') out += "\\t";
    else if (is_printable(c)) out.append(text, begin, i - begin);
    else out += hex_escape(c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
  }
  return out + quote;
}

std::string json_string(const std::string& text, bool ensure_ascii) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    switch (c) {
      case '"': out += "\\\""; continue;
      case '\\': out += "\\\\"; continue;
      case '\n': out += "\\n"; continue;
      case '\r': out += "\\r"; continue;
      case '\t': out += "\\t"; continue;
      case '\f': out += "\\f"; continue;
      case '\b': out += "\\b"; continue;
      default: break;
    }
    if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) out += hex_escape("\\u%04x", c);
    else if (ensure_ascii && c >= 0x10000)
      out += hex_escape("\\u%04x", 0xD800 + ((c - 0x10000) >> 10)) +
             hex_escape("\\u%04x", 0xDC00 + ((c - 0x10000) & 0x3FF));
    else out.append(text, begin, i - begin);
  }
  return out + '"';
}

std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return python_float_text(value);
}

void write_json(const Value& value, const JsonStyle& style, int depth, std::string& out) {
  const auto list = [&](char open, char close, size_t count, auto&& write) {
    out += open;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) out += style.item_separator;
      if (style.indent >= 0) out += '\n' + std::string(static_cast<size_t>(style.indent * (depth + 1)), ' ');
      write(i);
    }
    if (count > 0 && style.indent >= 0) out += '\n' + std::string(static_cast<size_t>(style.indent * depth), ' ');
    out += close;
  };
  if (value.is_none()) out += "null";
  else if (value.is<bool>()) out += value.truth() ? "true" : "false";
  else if (value.is_whole()) out += std::to_string(value.whole());
  else if (value.is<double>()) out += json_number(value.real());
  else if (value.is_text()) out += json_string(value.text(), style.ensure_ascii);
  else if (value.is_list() && !value.is_lazy())
    list('[', ']', value.list().size(), [&](size_t i) { write_json(value.list()[i], style, depth + 1, out); });
  else if (value.is_dict()) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : value.dict()) entries.push_back(&entry);
    if (style.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return compare(a->first, b->first) < 0; });
    list('{', '}', entries.size(), [&](size_t i) {
      const Value& key = entries[i]->first;
      if (key.is_text()) out += json_string(key.text(), style.ensure_ascii);
      else if (key.is_none() || key.is_number()) (out += '"') += json_text(key, style) + '"';
      else throw TemplateError(std::string("keys of JSON must be text, not ") + key.type_name());
      out += style.key_separator;
      write_json(entries[i]->second, style, depth + 1, out);
    });
  } else {
    throw TemplateError(std::string("a value of type ") + value.type_name() + " cannot be written as JSON");
  }
}

}  // namespace

Value Value::from_json(const OrderedJson& json) {
  switch (json.type()) {
    case OrderedJson::value_t::null: return {};
    case OrderedJson::value_t::boolean: return json.get<bool>();
    case OrderedJson::value_t::number_integer: return json.get<int64_t>();
    case OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        throw TemplateError("the number " + json.dump() + " is beyond 64 bits");
      return json.get<int64_t>();
    case OrderedJson::value_t::number_float: return json.get<double>();
    case OrderedJson::value_t::string: return json.get<std::string>();
    case OrderedJson::value_t::array: {
      List list;
      for (const auto& item : json) list.push_back(from_json(item));
      return list;
    }
    default: {
      Dict dict;
      for (const auto& item : json.items()) dict.emplace_back(item.key(), from_json(item.value()));
      return dict;
    }
  }
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return real() != 0;
  if (is_text()) return !text().empty();
  if (is_list()) return is_lazy() || !list().empty();
  if (is_dict()) return !dict().empty();
  return true;
}

const char* Value::type_name() const {
  constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int",       "float",
                                    "str",       "list",     "dict", "Namespace", "function"};
  if (is_lazy()) return "generator";
  return is_list() && sequence().is_tuple ? "tuple" : kNames[held_.index()];
}

void Value::require_defined() const {
  if (const auto* undefined = std::get_if<Undefined>(&held_))
    throw TemplateError("'" + undefined->name + "' is undefined");
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number())
    return a.is_whole() && b.is_whole() ? a.whole() == b.whole() : a.real() == b.real();
  if (a.held().index() != b.held().index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.is_text()) return a.text() == b.text();
  if (a.is_lazy() || b.is_lazy()) return a.held() == b.held();
  if (a.is_list())
    return a.sequence().is_tuple == b.sequence().is_tuple &&
           std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), equal);
  if (a.is_dict())
    return a.dict().size() == b.dict().size() && std::all_of(a.dict().begin(), a.dict().end(), [&](const auto& entry) {
             const Value* other = find(b.dict(), entry.first);
             return other != nullptr && equal(entry.second, *other);
           });
  return a.held() == b.held();
}

int compare(const Value& a, const Value& b) {
  a.require_defined();
  b.require_defined();
  if (a.is_number() && b.is_number())
    return a.is_whole() && b.is_whole() ? order(a.whole(), b.whole()) : order(a.real(), b.real());
  if (a.is_text() && b.is_text()) return order(a.text().compare(b.text()), 0);
  if (a.is_list() && b.is_list() && !a.is_lazy() && !b.is_lazy() && a.sequence().is_tuple == b.sequence().is_tuple) {
    for (size_t i = 0; i < std::min(a.list().size(), b.list().size()); ++i)
      if (!equal(a.list()[i], b.list()[i])) return compare(a.list()[i], b.list()[i]);
    return order(a.list().size(), b.list().size());
  }
  throw TemplateError(std::string("values of type ") + a.type_name() + " and " + b.type_name() + " have no order");
}

bool contains(const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (container.is_list())
    return std::any_of(container.list().begin(), container.list().end(),
                       [&](const Value& v) { return equal(v, item); });
  if (container.is_dict()) {
    if (item.is_dict() || (item.is_list() && !item.sequence().is_tuple))
      throw TemplateError(std::string("a value of type ") + item.type_name() + " cannot be the key of a dict");
    return find(container.dict(), item) != nullptr;
  }
  if (container.is_text()) {
    item.require_defined();
    if (!item.is_text()) throw TemplateError(std::string("'in <text>' needs a text, not ") + item.type_name());
    return container.text().find(item.text()) != std::string::npos;
  }
  throw TemplateError(std::string("a value of type ") + container.type_name() + " contains nothing");
}

const Value* find(const Dict& dict, const Value& key) {
  for (const auto& entry : dict)
    if (equal(entry.first, key)) return &entry.second;
  return nullptr;
}

void set(Dict& dict, const Value& key, Value value) {
  for (auto& entry : dict)
    if (equal(entry.first, key)) {
      entry.second = std::move(value);
      return;
    }
  dict.emplace_back(key, std::move(value));
}

List items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) return value.list();
  List items;
  if (value.is_dict()) {
    for (const auto& entry : value.dict()) items.push_back(entry.first);
  } else if (value.is_text()) {
    for (const auto character : characters(value.text())) items.emplace_back(character);
  } else {
    throw TemplateError(std::string("a value of type ") + value.type_name() + " cannot be looped over");
  }
  return items;
}

std::string str(const Value& value) {
  if (value.is_undefined()) return "";
  return value.is_text() ? value.text() : repr(value);
}

std::string repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is<bool>()) return value.truth() ? "True" : "False";
  if (value.is_whole()) return std::to_string(value.whole());
  if (value.is<double>()) return python_float_text(value.real());
  if (value.is_text()) return quoted(value.text());
  std::string out;
  if (value.is_lazy()) throw TemplateError("what a filter like map or select gives cannot be printed; add '| list'");
  if (value.is_list()) {
    for (const Value& item : value.list()) out += (out.empty() ? "" : ", ") + repr(item);
    if (!value.sequence().is_tuple) return "[" + out + "]";
    return "(" + out + (value.list().size() == 1 ? ",)" : ")");
  }
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict()) out += (out.empty() ? "" : ", ") + repr(key) + ": " + repr(item);
    return "{" + out + "}";
  }
  throw TemplateError(std::string("a value of type ") + value.type_name() + " cannot be printed");
}

std::string json_text(const Value& value, const JsonStyle& style) {
  std::string out;
  write_json(value, style, 0, out);
  return out;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text[i]);
    out.push_back(text.substr(i, length));
    i += length;
  }
  return out;
}

bool is_python_space(char32_t c) { return (c >= 0x1C && c <= 0x1F) || is_white_space(c); }

std::string_view strip(std::string_view text, const std::string* of, bool left, bool right) {
  const auto goes = [&](std::string_view character) {
    if (of != nullptr) return of->find(character) != std::string::npos;
    size_t i = 0;
    return is_python_space(next_code_point(character, i));
  };
  while (left && !text.empty()) {
    const size_t length = utf8_length(text[0]);
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (is_continuation_byte(text[begin])) --begin;
    if (!goes(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace fare::chat
