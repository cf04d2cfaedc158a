#include "fare/checkpoint/config_reader.h"

#include <cmath>

#include "fare/core/error.h"

namespace fare {
namespace {

std::string range_text(IntRange range) {
  if (range.min == kAnyInt.min && range.max == kAnyInt.max) return "an integer";
  if (range.max == kAnyInt.max) return "an integer of at least " + std::to_string(range.min);
  return "an integer from " + std::to_string(range.min) + " to " + std::to_string(range.max);
}

}  // namespace

ConfigReader::ConfigReader(const Json& config, std::string path)
    : ConfigReader(config, std::move(path), "", std::make_shared<std::set<std::string>>(),
                   std::make_shared<std::vector<std::pair<const Json*, std::string>>>()) {}

ConfigReader::ConfigReader(const Json& config, std::string path, std::string prefix,
                           std::shared_ptr<std::set<std::string>> read,
                           std::shared_ptr<std::vector<std::pair<const Json*, std::string>>> opened)
    : config_(&config),
      path_(std::move(path)),
      prefix_(std::move(prefix)),
      read_(std::move(read)),
      opened_(std::move(opened)) {
  FARE_CHECK(config.is_object(), path_ + ": the configuration must be an object");
  opened_->emplace_back(config_, prefix_);
}

const Json* ConfigReader::find(const ConfigKey& key) const {
  const Json* found = nullptr;
  std::string found_name;
  for (const auto& name : key.names) {
    read_->insert(prefix_ + name);
    const auto entry = config_->find(name);
    if (entry == config_->end()) continue;
    if (found != nullptr && *found != *entry)
      throw error(key, prefix_ + found_name + " is " + found->dump() + " but " + prefix_ + name + " is " +
                           entry->dump() + "; they name the same setting, keep one");
    if (found == nullptr) {
      found = &*entry;
      found_name = name;
    }
  }
  return found;
}

// nullptr when absent; also when null if `null_is_absent`, an error otherwise.
const Json* ConfigReader::find_value(const ConfigKey& key, bool null_is_absent) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_null()) return value;
  if (null_is_absent) return nullptr;
  throw error(key, "is null, which has no meaning here; leave the key out for the default");
}

const Json& ConfigReader::need(const ConfigKey& key) const {
  const Json* value = find(key);
  if (value == nullptr) {
    std::string also;
    for (size_t i = 1; i < key.names.size(); ++i) also += (i == 1 ? " (or '" : "', '") + key.names[i];
    throw error(key, "the key is missing" + (also.empty() ? "" : also + "')") +
                         "; it decides the architecture and is not guessed");
  }
  if (value->is_null()) throw error(key, "is null; it decides the architecture and is not guessed");
  return *value;
}

bool ConfigReader::has(const ConfigKey& key) const { return find(key) != nullptr; }

bool ConfigReader::is_null(const ConfigKey& key) const {
  const Json* value = find(key);
  return value != nullptr && value->is_null();
}

int64_t ConfigReader::required_int(const ConfigKey& key, IntRange range) const { return to_int(key, need(key), range); }
double ConfigReader::required_number(const ConfigKey& key) const { return to_number(key, need(key)); }
std::string ConfigReader::required_string(const ConfigKey& key) const { return to_text(key, need(key)); }

int64_t ConfigReader::int_or(const ConfigKey& key, int64_t when_absent, IntRange range) const {
  const Json* value = find_value(key, false);
  return value == nullptr ? when_absent : to_int(key, *value, range);
}

double ConfigReader::number_or(const ConfigKey& key, double when_absent) const {
  const Json* value = find_value(key, false);
  return value == nullptr ? when_absent : to_number(key, *value);
}

bool ConfigReader::bool_or(const ConfigKey& key, bool when_absent) const {
  const Json* value = find_value(key, false);
  return value == nullptr ? when_absent : to_bool(key, *value);
}

std::string ConfigReader::string_or(const ConfigKey& key, const std::string& when_absent) const {
  const Json* value = find_value(key, false);
  return value == nullptr ? when_absent : to_text(key, *value);
}

std::optional<int64_t> ConfigReader::optional_int(const ConfigKey& key, std::optional<int64_t> when_absent,
                                                  IntRange range) const {
  const Json* value = find(key);
  if (value == nullptr) return when_absent;
  if (value->is_null()) return std::nullopt;
  return to_int(key, *value, range);
}

std::optional<double> ConfigReader::optional_number(const ConfigKey& key, std::optional<double> when_absent) const {
  const Json* value = find(key);
  if (value == nullptr) return when_absent;
  if (value->is_null()) return std::nullopt;
  return to_number(key, *value);
}

std::optional<bool> ConfigReader::optional_bool(const ConfigKey& key, std::optional<bool> when_absent) const {
  const Json* value = find(key);
  if (value == nullptr) return when_absent;
  if (value->is_null()) return std::nullopt;
  return to_bool(key, *value);
}

std::optional<std::string> ConfigReader::optional_string(const ConfigKey& key,
                                                         std::optional<std::string> when_absent) const {
  const Json* value = find(key);
  if (value == nullptr) return when_absent;
  if (value->is_null()) return std::nullopt;
  return to_text(key, *value);
}

std::optional<std::vector<int64_t>> ConfigReader::optional_ints(const ConfigKey& key,
                                                                std::optional<std::vector<int64_t>> when_absent,
                                                                IntRange range) const {
  const Json* value = find(key);
  if (value == nullptr) return when_absent;
  if (value->is_null()) return std::nullopt;
  std::vector<int64_t> list;
  for (const auto& entry : to_list(key, *value)) list.push_back(to_int(key, entry, range));
  return list;
}

std::optional<std::vector<double>> ConfigReader::optional_numbers(const ConfigKey& key) const {
  const Json* value = find_value(key, true);
  if (value == nullptr) return std::nullopt;
  std::vector<double> list;
  for (const auto& entry : to_list(key, *value)) list.push_back(to_number(key, entry));
  return list;
}

std::optional<std::vector<std::string>> ConfigReader::optional_strings(const ConfigKey& key) const {
  const Json* value = find_value(key, true);
  if (value == nullptr) return std::nullopt;
  std::vector<std::string> list;
  for (const auto& entry : to_list(key, *value)) list.push_back(to_text(key, entry));
  return list;
}

std::vector<int64_t> ConfigReader::int_or_list(const ConfigKey& key, IntRange range) const {
  const Json* value = find_value(key, true);
  if (value == nullptr) return {};
  if (!value->is_array()) return {to_int(key, *value, range)};
  std::vector<int64_t> list;
  for (const auto& entry : *value) list.push_back(to_int(key, entry, range));
  return list;
}

std::optional<ConfigReader> ConfigReader::optional_object(const ConfigKey& key) const {
  const Json* value = find_value(key, true);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) throw refused(key, *value, "an object or null");
  std::string name = key.names.front();
  for (const auto& candidate : key.names)
    if (config_->contains(candidate)) {
      name = candidate;
      break;
    }
  return ConfigReader(*value, path_, prefix_ + name + ".", read_, opened_);
}

FormatError ConfigReader::error(const ConfigKey& key, const std::string& what) const {
  return FormatError(path_, prefix_ + key.names.front(), what);
}

FormatError ConfigReader::refused(const ConfigKey& key, const Json& value, const std::string& accepted) const {
  std::string name = key.names.front();
  for (const auto& candidate : key.names)
    if (config_->contains(candidate)) {
      name = candidate;
      break;
    }
  return FormatError(path_, prefix_ + name, "is " + value.dump() + ", expected " + accepted);
}

void ConfigReader::ignore(std::initializer_list<const char*> keys) const {
  for (const char* key : keys) read_->insert(prefix_ + key);
}

std::vector<std::string> ConfigReader::unread() const {
  std::set<std::string> keys;
  for (const auto& [object, prefix] : *opened_)
    for (const auto& [key, value] : object->items())
      if (!read_->contains(prefix + key)) keys.insert(prefix + key);
  return {keys.begin(), keys.end()};
}

int64_t ConfigReader::to_int(const ConfigKey& key, const Json& value, IntRange range) const {
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits || value.get<int64_t>() < range.min || value.get<int64_t>() > range.max)
    throw refused(key, value, range_text(range));
  return value.get<int64_t>();
}

double ConfigReader::to_number(const ConfigKey& key, const Json& value) const {
  if (!value.is_number() || !std::isfinite(value.get<double>())) throw refused(key, value, "a finite number");
  return value.get<double>();
}

bool ConfigReader::to_bool(const ConfigKey& key, const Json& value) const {
  if (!value.is_boolean()) throw refused(key, value, "true or false");
  return value.get<bool>();
}

std::string ConfigReader::to_text(const ConfigKey& key, const Json& value) const {
  if (!value.is_string()) throw refused(key, value, "a text");
  return value.get<std::string>();
}

const Json& ConfigReader::to_list(const ConfigKey& key, const Json& value) const {
  if (!value.is_array()) throw refused(key, value, "a list");
  return value;
}

}  // namespace fare
