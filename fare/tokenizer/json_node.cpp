#include "fare/tokenizer/json_node.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {
namespace {

// Long values (a vocabulary) are cut, so that a message stays readable.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

}  // namespace

void JsonNode::fail(const std::string& what) const { throw FormatError(file_->path, place_, what); }

JsonNode JsonNode::at(const std::string& key) const {
  if (!value_->is_object()) fail("expected an object, found " + shown(*value_));
  const auto found = value_->find(key);
  if (found == value_->end()) fail("field '" + key + "' is missing");
  return {*found, *file_, place_.empty() ? key : place_ + "." + key};
}

std::optional<JsonNode> JsonNode::find(const std::string& key) const {
  if (!value_->is_object()) fail("expected an object, found " + shown(*value_));
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return JsonNode(*found, *file_, place_.empty() ? key : place_ + "." + key);
}

std::vector<JsonNode> JsonNode::items() const {
  if (!value_->is_array()) fail("expected a list, found " + shown(*value_));
  std::vector<JsonNode> items;
  items.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i)
    items.emplace_back((*value_)[i], *file_, place_ + "[" + std::to_string(i) + "]");
  return items;
}

std::string JsonNode::text() const {
  if (!value_->is_string()) fail("expected a string, found " + shown(*value_));
  return value_->get<std::string>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) fail("expected true or false, found " + shown(*value_));
  return value_->get<bool>();
}

int64_t JsonNode::integer(int64_t lowest, int64_t highest) const {
  const std::string range = "expected a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
  if (!value_->is_number_integer()) fail(range + ", found " + shown(*value_));
  if (value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(highest))
    fail(range + ", found " + shown(*value_));
  const int64_t number = value_->get<int64_t>();
  if (number < lowest || number > highest) fail(range + ", found " + shown(*value_));
  return number;
}

double JsonNode::number() const {
  if (!value_->is_number()) fail("expected a number, found " + shown(*value_));
  return value_->get<double>();
}

bool JsonNode::boolean_or(const std::string& key, bool absent) const {
  const auto found = find(key);
  return found ? found->boolean() : absent;
}

std::optional<std::string> JsonNode::text_if(const std::string& key) const {
  const auto found = find(key);
  if (!found) return std::nullopt;
  return found->text();
}

void JsonNode::note_other_fields(std::initializer_list<const char*> known) const {
  for (const auto& item : value_->items()) {
    const std::string& key = item.key();
    if (std::none_of(known.begin(), known.end(), [&](const char* name) { return key == name; }))
      file_->notes.push_back((place_.empty() ? "" : place_ + ": ") + "field '" + key +
                             "' is not known and was ignored");
  }
}

void fail_unknown_component(const JsonNode& component, const std::string& kind, const std::string& type,
                            const std::vector<std::string>& known) {
  std::string list;
  for (const auto& name : known) list += (list.empty() ? "" : ", ") + name;
  component.fail(kind + " '" + type + "' is not supported" + did_you_mean(type, known) + " (supported: " + list + ")");
}

}  // namespace fare
