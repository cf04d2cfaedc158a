// Read access to report.json that knows where it is, for errors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

// A value inside report.json and its path ("stages[2].answer"). The json must outlive the node.
class Node {
 public:
  Node(const OrderedJson& json, std::string place) : json_(&json), place_(std::move(place)) {}

  // The field `key` of an object. Throws FormatError naming the place when it is missing.
  Node at(const std::string& key) const;
  bool has(const std::string& key) const { return json_->is_object() && json_->contains(key); }
  const std::string& place() const { return place_; }
  bool is_null() const { return json_->is_null(); }
  const OrderedJson& json() const { return *json_; }

  // The elements of a list; empty for null.
  std::vector<Node> rows() const;

  // Typed values; FormatError when the value is of another type.
  std::string text() const;
  double number() const;
  bool flag() const;
  std::optional<double> number_or_null() const;

  // Shortcuts for at(key).
  std::string text(const std::string& key) const { return at(key).text(); }
  double number(const std::string& key) const { return at(key).number(); }
  std::optional<double> number_or_null(const std::string& key) const { return at(key).number_or_null(); }
  std::vector<Node> rows(const std::string& key) const { return at(key).rows(); }

  // Why the field `key` is null: its `key_reason`, or "no reason was given".
  std::string reason(const std::string& key) const;

 private:
  [[noreturn]] void wrong_type(const std::string& expected) const;

  const OrderedJson* json_;
  std::string place_;
};

// [low, high] of the field `key`, or none where it is null.
struct Range {
  double low = 0;
  double high = 0;
};
std::optional<Range> range_or_null(const Node& object, const std::string& key);

}  // namespace fare
