// What a chat template can call: filters, tests, functions, and the methods of texts, lists and dicts. All throw
// TemplateError on arguments they cannot use.
#pragma once

#include <ctime>
#include <string>

#include "fare/tokenizer/chat/value.h"

namespace fare::chat {

bool is_filter(const std::string& name);
bool is_test(const std::string& name);
bool is_unsupported_function(const std::string& name);  // one that Jinja has and this does not

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);

// raise_exception, strftime_now, namespace, dict, range. `now` is the local time that strftime_now shows.
Dict global_functions(std::time_t now);

// value.name: a method, else an item. value[key]: an item, else a method. Undefined where there is neither.
Value attribute(const Value& value, const std::string& name);
Value item(const Value& value, const Value& key);
// value[begin:end:step], each of them None where it was left out.
Value slice(const Value& value, const Value& begin, const Value& end, const Value& step);

// +, -, *, /, //, %, **, ~ as Python computes them.
Value arithmetic(const std::string& operation, const Value& a, const Value& b);

}  // namespace fare::chat
