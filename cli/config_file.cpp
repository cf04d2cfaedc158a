#include "cli/config_file.h"

#include <toml++/toml.h>
#include <algorithm>
#include <sstream>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"

namespace fare::cli {
namespace {

std::string value_text(const toml::node& node, const std::string& key, const std::string& path) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* number = node.as_floating_point()) return python_float_text(number->get());
  throw FormatError(path, "line " + std::to_string(node.source().begin.line),
                    "'" + key + "' must be a text, a number, true, false or a list of these");
}

}  // namespace

std::vector<std::string> with_config_file(const std::vector<std::string>& arguments, const CLI::App& program) {
  std::vector<std::string> result;
  std::string path;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config" && i + 1 < arguments.size()) {
      path = arguments[++i];
    } else if (arguments[i].starts_with("--config=")) {
      path = arguments[i].substr(9);
    } else {
      result.push_back(arguments[i]);
    }
  }
  if (path.empty()) return result;

  toml::table table;
  try {
    table = toml::parse(read_file(path), path);
  } catch (const toml::parse_error& error) {
    throw FormatError(path, "line " + std::to_string(error.source().begin.line), std::string(error.description()));
  }
  // The innermost command named on the command line.
  const CLI::App* command = &program;
  for (const std::string& argument : result) {
    if (argument.starts_with("-")) break;
    const auto inner =
        command->get_subcommands([&](const CLI::App* candidate) { return candidate->get_name() == argument; });
    if (inner.empty()) break;
    command = inner.front();
  }
  for (const auto& [key_node, node] : table) {
    const std::string key(key_node.str()), flag = "--" + key;
    if (key == "command" || key == "inputs") continue;  // run folders say there what the file repeats and what it read
    if (command->get_option_no_throw(flag) == nullptr) {
      std::vector<std::string> known;
      for (const CLI::Option* option : command->get_options()) known.push_back(option->get_name().substr(2));
      throw UsageError(path + ": 'fare " + command->get_name() + "' has no flag " + flag + did_you_mean(key, known));
    }
    const bool given = std::any_of(result.begin(), result.end(), [&](const std::string& argument) {
      return argument == flag || argument.starts_with(flag + "=");
    });
    if (given) continue;
    if (const auto* flag_value = node.as_boolean()) {
      if (flag_value->get()) result.push_back(flag);
    } else if (const auto* list = node.as_array()) {
      for (const auto& element : *list) {
        result.push_back(flag);
        result.push_back(value_text(element, key, path));
      }
    } else {
      result.push_back(flag);
      result.push_back(value_text(node, key, path));
    }
  }
  return result;
}

}  // namespace fare::cli
