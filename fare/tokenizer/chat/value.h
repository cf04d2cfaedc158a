// The values a chat template computes with: Python's, as far as templates use them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fare/core/json.h"

namespace fare::chat {

// What goes wrong inside a template; the evaluator adds the line.
class TemplateError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;  // in the order of insertion

// Arguments of a call.
struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
};
using Function = std::function<Value(const Arguments&)>;

struct Undefined {
  std::string name;  // what was looked for, for errors
  bool operator==(const Undefined&) const = default;
};

// Lists and dicts are shared and never change (as in the sandbox that templates run in); a namespace does.
class Value {
 public:
  struct Sequence {
    List items;
    bool is_tuple = false;
    bool is_lazy = false;  // what map, select, .. give: can only be looped over, and is true even when empty
  };
  struct Namespace {
    Dict fields;
  };
  using Held =
      std::variant<Undefined, std::nullptr_t, bool, int64_t, double, std::string, std::shared_ptr<const Sequence>,
                   std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Function>>;

  Value() : held_(nullptr) {}  // None
  Value(Undefined undefined) : held_(std::move(undefined)) {}
  Value(bool value) : held_(value) {}
  Value(int64_t value) : held_(value) {}
  Value(double value) : held_(value) {}
  Value(std::string text) : held_(std::move(text)) {}
  Value(std::string_view text) : held_(std::string(text)) {}
  Value(const char* text) : held_(std::string(text)) {}
  Value(List items, bool is_tuple = false)
      : held_(std::make_shared<const Sequence>(Sequence{std::move(items), is_tuple})) {}
  Value(Dict dict) : held_(std::make_shared<const Dict>(std::move(dict))) {}
  Value(std::shared_ptr<Namespace> space) : held_(std::move(space)) {}
  Value(Function function) : held_(std::make_shared<const Function>(std::move(function))) {}
  static Value lazy(List items) {
    Value value;
    value.held_ = std::make_shared<const Sequence>(Sequence{std::move(items), false, true});
    return value;
  }
  // Throws TemplateError on a whole number beyond 64 bits.
  static Value from_json(const OrderedJson& json);

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(held_);
  }
  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<std::nullptr_t>(); }
  bool is_text() const { return is<std::string>(); }
  bool is_list() const { return is<std::shared_ptr<const Sequence>>(); }
  bool is_lazy() const { return is_list() && sequence().is_lazy; }
  bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
  bool is_namespace() const { return is<std::shared_ptr<Namespace>>(); }
  bool is_function() const { return is<std::shared_ptr<const Function>>(); }
  bool is_whole() const { return is<int64_t>() || is<bool>(); }  // a bool counts as 0 or 1
  bool is_number() const { return is_whole() || is<double>(); }

  // Each requires its kind.
  const std::string& text() const { return std::get<std::string>(held_); }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(held_); }
  const List& list() const { return sequence().items; }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(held_); }
  Namespace& space() const { return *std::get<std::shared_ptr<Namespace>>(held_); }
  const Function& function() const { return *std::get<std::shared_ptr<const Function>>(held_); }
  int64_t whole() const { return is<bool>() ? std::get<bool>(held_) : std::get<int64_t>(held_); }
  double real() const { return is<double>() ? std::get<double>(held_) : static_cast<double>(whole()); }
  const Held& held() const { return held_; }

  bool truth() const;
  const char* type_name() const;  // Python's: "str", "int", ..
  // The undefined value's complaint, for everything that cannot use one.
  void require_defined() const;

 private:
  Held held_;
};

bool equal(const Value& a, const Value& b);
int compare(const Value& a, const Value& b);  // -1, 0, 1; TemplateError where Python cannot order them
bool contains(const Value& container, const Value& item);
const Value* find(const Dict& dict, const Value& key);
void set(Dict& dict, const Value& key, Value value);

// The items of a loop: of a list, keys of a dict, characters of a text, nothing of an undefined value.
List items_of(const Value& value);

std::string str(const Value& value);   // as {{ }} prints it
std::string repr(const Value& value);  // as it stands inside a printed list

struct JsonStyle {
  bool ensure_ascii = false;
  int indent = -1;  // spaces; -1: all in one line
  std::string item_separator, key_separator;
  bool sort_keys = false;
};
std::string json_text(const Value& value, const JsonStyle& style);

// Text by characters.
std::vector<std::string_view> characters(std::string_view text);
bool is_python_space(char32_t c);
std::string_view strip(std::string_view text, const std::string* of, bool left, bool right);

}  // namespace fare::chat
