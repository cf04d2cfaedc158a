#include "fare/report/node.h"

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr const char* kFile = "report.json";

}  // namespace

void Node::wrong_type(const std::string& expected) const {
  throw FormatError(kFile, place_, "expected " + expected + ", found " + json_->dump().substr(0, 60));
}

Node Node::at(const std::string& key) const {
  if (!json_->is_object()) wrong_type("an object");
  const auto found = json_->find(key);
  if (found == json_->end()) throw FormatError(kFile, place_, "field '" + key + "' is missing");
  return Node(*found, place_.empty() ? key : place_ + "." + key);
}

std::vector<Node> Node::rows() const {
  if (json_->is_null()) return {};
  if (!json_->is_array()) wrong_type("a list");
  std::vector<Node> rows;
  for (size_t i = 0; i < json_->size(); ++i) rows.emplace_back((*json_)[i], place_ + "[" + std::to_string(i) + "]");
  return rows;
}

std::string Node::text() const {
  if (!json_->is_string()) wrong_type("a text");
  return json_->get<std::string>();
}

double Node::number() const {
  if (!json_->is_number()) wrong_type("a number");
  return json_->get<double>();
}

bool Node::flag() const {
  if (!json_->is_boolean()) wrong_type("true or false");
  return json_->get<bool>();
}

std::optional<double> Node::number_or_null() const {
  if (json_->is_null()) return std::nullopt;
  return number();
}

std::string Node::reason(const std::string& key) const {
  if (!has(key + "_reason")) return "no reason was given";
  return text(key + "_reason");
}

std::optional<Range> range_or_null(const Node& object, const std::string& key) {
  const Node field = object.at(key);
  if (field.is_null()) return std::nullopt;
  const auto ends = field.rows();
  if (ends.size() != 2) throw FormatError(kFile, field.place(), "expected [low, high]");
  return Range{ends[0].number(), ends[1].number()};
}

}  // namespace fare
