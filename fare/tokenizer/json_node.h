// A value inside a JSON file that remembers where it lies, so that every complaint names file and place.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

// What reading one file shares: its name, and sentences about harmless oddities ("field 'x' is not known here").
struct JsonFile {
  std::string path;
  std::vector<std::string> notes;
};

// A view: the Json and the JsonFile must outlive it. Everything that refuses throws FormatError(path, place, ..).
class JsonNode {
 public:
  JsonNode(const Json& value, JsonFile& file, std::string place = "")
      : value_(&value), file_(&file), place_(std::move(place)) {}

  const Json& json() const { return *value_; }
  const std::string& place() const { return place_; }
  const std::string& path() const { return file_->path; }
  JsonFile& file() const { return *file_; }

  [[noreturn]] void fail(const std::string& what) const;

  // A field of an object: at() refuses when it is absent, find() gives nothing when it is absent or null.
  JsonNode at(const std::string& key) const;
  std::optional<JsonNode> find(const std::string& key) const;
  std::vector<JsonNode> items() const;  // of an array

  std::string text() const;
  bool boolean() const;
  int64_t integer(int64_t lowest, int64_t highest) const;
  double number() const;

  std::string text(const std::string& key) const { return at(key).text(); }
  bool boolean(const std::string& key) const { return at(key).boolean(); }
  bool boolean_or(const std::string& key, bool absent) const;
  std::optional<std::string> text_if(const std::string& key) const;

  // Notes every field of this object that is not in `known`.
  void note_other_fields(std::initializer_list<const char*> known) const;

 private:
  const Json* value_;
  JsonFile* file_;
  std::string place_;
};

// Refuses a component type, naming the ones that are known.
[[noreturn]] void fail_unknown_component(const JsonNode& component, const std::string& kind, const std::string& type,
                                         const std::vector<std::string>& known);

}  // namespace fare
