// Typed access to config.json that tells absent from null, names what is wrong, and knows which keys nobody asked for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

// The name of a setting and its aliases: "hidden_size", or {"num_experts", "num_local_experts"}. The first is the one
// that messages lead with. If a file holds several, they must have equal values.
struct ConfigKey {
  ConfigKey(const char* name) : names{name} {}         // NOLINT: meant to be implicit
  ConfigKey(const std::string& name) : names{name} {}  // NOLINT
  ConfigKey(std::initializer_list<const char*> aliases) : names(aliases.begin(), aliases.end()) {}
  std::vector<std::string> names;
};

struct IntRange {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
};
inline constexpr IntRange kAnyInt{};
inline constexpr IntRange kNonNegative{0};
inline constexpr IntRange kPositive{1};

// Absent and null differ: absent means the default of the family, null means "none". Every reader below says which of
// the two it takes; the other, a wrong type, a value out of range or aliases that contradict each other is a
// FormatError naming the file, the key, the value found and what is accepted. Integers must be written as integers (8,
// not 8.0); numbers may be either; booleans only true and false.
class ConfigReader {
 public:
  // `config` must be an object and outlive the reader; `path` names the file in errors.
  ConfigReader(const Json& config, std::string path);
  ConfigReader(Json&&, std::string) = delete;

  bool has(const ConfigKey& key) const;      // present, null or not
  bool is_null(const ConfigKey& key) const;  // present and null

  // Absent and null are errors: what decides the architecture is never guessed.
  int64_t required_int(const ConfigKey& key, IntRange range = kPositive) const;
  double required_number(const ConfigKey& key) const;
  std::string required_string(const ConfigKey& key) const;

  // Absent gives the default; null is an error.
  int64_t int_or(const ConfigKey& key, int64_t when_absent, IntRange range = kNonNegative) const;
  double number_or(const ConfigKey& key, double when_absent) const;
  bool bool_or(const ConfigKey& key, bool when_absent) const;
  std::string string_or(const ConfigKey& key, const std::string& when_absent) const;

  // Absent gives the default (which may be none); null gives none.
  std::optional<int64_t> optional_int(const ConfigKey& key, std::optional<int64_t> when_absent = {},
                                      IntRange range = kNonNegative) const;
  std::optional<double> optional_number(const ConfigKey& key, std::optional<double> when_absent = {}) const;
  std::optional<bool> optional_bool(const ConfigKey& key, std::optional<bool> when_absent = {}) const;
  std::optional<std::string> optional_string(const ConfigKey& key, std::optional<std::string> when_absent = {}) const;

  // Lists. Absent gives the default (which may be none); null gives none.
  std::optional<std::vector<int64_t>> optional_ints(const ConfigKey& key,
                                                    std::optional<std::vector<int64_t>> when_absent = {},
                                                    IntRange range = kNonNegative) const;
  std::optional<std::vector<double>> optional_numbers(const ConfigKey& key) const;
  std::optional<std::vector<std::string>> optional_strings(const ConfigKey& key) const;

  // An integer or a list of integers (eos_token_id); absent, null and [] give an empty list.
  std::vector<int64_t> int_or_list(const ConfigKey& key, IntRange range = kNonNegative) const;

  // A nested object, read with the same care: its keys are named and tracked as "rope_scaling.factor". Absent and null
  // give none.
  std::optional<ConfigReader> optional_object(const ConfigKey& key) const;

  // The FormatError of this file and key, for checks that need several settings:
  // throw config.error("num_attention_heads", "32 is not divisible by num_key_value_heads 5").
  FormatError error(const ConfigKey& key, const std::string& what) const;

  // Counts these keys as read: those that are known to change nothing here.
  void ignore(std::initializer_list<const char*> keys) const;

  // Keys of the file, sorted, that nobody asked for or ignored; keys of nested objects that were opened are listed with
  // their path. An object never asked for is one key.
  std::vector<std::string> unread() const;

 private:
  ConfigReader(const Json& config, std::string path, std::string prefix, std::shared_ptr<std::set<std::string>> read,
               std::shared_ptr<std::vector<std::pair<const Json*, std::string>>> opened);
  const Json* find(const ConfigKey& key) const;  // marks as read; nullptr when absent
  const Json* find_value(const ConfigKey& key, bool null_is_absent) const;
  const Json& need(const ConfigKey& key) const;
  int64_t to_int(const ConfigKey& key, const Json& value, IntRange range) const;
  double to_number(const ConfigKey& key, const Json& value) const;
  bool to_bool(const ConfigKey& key, const Json& value) const;
  std::string to_text(const ConfigKey& key, const Json& value) const;
  const Json& to_list(const ConfigKey& key, const Json& value) const;
  FormatError refused(const ConfigKey& key, const Json& value, const std::string& accepted) const;

  const Json* config_;
  std::string path_;
  std::string prefix_;  // "" or "rope_scaling."
  std::shared_ptr<std::set<std::string>> read_;
  std::shared_ptr<std::vector<std::pair<const Json*, std::string>>> opened_;  // objects and their prefixes
};

}  // namespace fare
