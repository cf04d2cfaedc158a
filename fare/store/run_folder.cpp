#include "fare/store/run_folder.h"

#include <toml++/toml.h>
#include <map>
#include <sstream>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"

namespace fare {
namespace {

// A TOML basic string has JSON's escapes; DEL must be escaped as well.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : Json(text).dump()) {
    if (c == '\x7f') out += "\\u007f";
    else out += c;
  }
  return out;
}

std::string value_text(const SettingValue& value) {
  struct Spell {
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(int64_t i) const { return std::to_string(i); }
    std::string operator()(double d) const { return python_float_text(d); }
    std::string operator()(const std::string& s) const { return quoted(s); }
    std::string operator()(const std::vector<std::string>& list) const {
      std::string out = "[";
      for (size_t i = 0; i < list.size(); ++i) {
        if (i > 0) out += ", ";
        out += quoted(list[i]);
      }
      return out + "]";
    }
  };
  return std::visit(Spell{}, value);
}

// A configuration as it is compared: by flag, a value and perhaps a hash.
struct Stored {
  std::string command;
  std::map<std::string, SettingValue> values;
  std::map<std::string, std::string> hashes;
};

SettingValue value_of(const toml::node& node, const std::string& key, const std::string& path) {
  if (const auto* b = node.as_boolean()) return b->get();
  if (const auto* i = node.as_integer()) return i->get();
  if (const auto* d = node.as_floating_point()) return d->get();
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* list = node.as_array()) {
    std::vector<std::string> texts;
    bool fits = true;
    for (const auto& element : *list) {
      const auto* text = element.as_string();
      fits = fits && text != nullptr;
      if (text != nullptr) texts.push_back(text->get());
    }
    if (fits) return texts;
  }
  throw FormatError(path, "line " + std::to_string(node.source().begin.line),
                    "'" + key + "' must be a text, a number, true, false or a list of texts");
}

Stored read_config(const std::filesystem::path& path) {
  const std::string name = path.string();
  toml::table table;
  try {
    table = toml::parse(read_file(path), name);
  } catch (const toml::parse_error& error) {
    throw FormatError(name, "line " + std::to_string(error.source().begin.line), std::string(error.description()));
  }
  Stored stored;
  for (const auto& [key_node, node] : table) {
    const std::string key(key_node.str());
    if (key == "inputs") {
      const auto* inputs = node.as_table();
      if (inputs == nullptr) throw FormatError(name, "inputs", "must be a table of hashes");
      for (const auto& [flag, hash] : *inputs) {
        const auto* text = hash.as_string();
        if (text == nullptr) throw FormatError(name, "inputs", "'" + std::string(flag.str()) + "' must be a text");
        stored.hashes[std::string(flag.str())] = text->get();
      }
    } else if (key == "command") {
      const auto* text = node.as_string();
      if (text == nullptr) throw FormatError(name, "command", "must be a text");
      stored.command = text->get();
    } else {
      stored.values[key] = value_of(node, key, name);
    }
  }
  return stored;
}

void check_same(const Stored& there, const std::string& command, const std::vector<Setting>& settings,
                const std::filesystem::path& folder) {
  std::string differences;
  const auto differ = [&](const std::string& what, const std::string& stored, const std::string& now) {
    differences += "\n  " + what + ": " + stored + " there, " + now + " here";
  };
  if (there.command != command) differ("command", there.command, command);
  std::map<std::string, const Setting*> here;
  for (const auto& setting : settings) here[setting.flag] = &setting;
  for (const auto& [flag, setting] : here) {
    if (may_differ(flag)) continue;
    const auto hash = there.hashes.find(flag);
    const auto value = there.values.find(flag);
    const std::string now = value_text(setting->value);
    if (hash != there.hashes.end() && !setting->sha256.empty()) {
      if (hash->second != setting->sha256)
        differ("--" + flag,
               (value == there.values.end() ? "" : value_text(value->second) + " ") + "(" + hash->second + ")",
               now + " (" + setting->sha256 + ")");
    } else if (value == there.values.end()) {
      differ("--" + flag, "not set", now);
    } else if (value_text(value->second) != now) {
      differ("--" + flag, value_text(value->second), now);
    }
  }
  for (const auto& [flag, value] : there.values)
    if (!may_differ(flag) && !here.contains(flag)) differ("--" + flag, value_text(value), "not set");
  if (!differences.empty())
    throw ModelMismatch(folder.string() + ": holds a run of another configuration:" + differences +
                        "\nuse another --out, or repeat the settings of that run with --config " +
                        (folder / "config.toml").string());
}

}  // namespace

bool may_differ(const std::string& flag) {
  for (const char* free : {"out", "threads", "device", "quiet", "log-level", "config"})
    if (flag == free) return true;
  return flag.ends_with("-limit-mb");
}

std::string config_toml(const std::string& command, const std::vector<Setting>& settings) {
  std::string text = "command = " + quoted(command) + "\n";
  std::string hashes;
  for (const auto& setting : settings) {
    text += setting.flag + " = " + value_text(setting.value) + "\n";
    if (!setting.sha256.empty()) hashes += setting.flag + " = " + quoted(setting.sha256) + "\n";
  }
  if (!hashes.empty()) text += "\n[inputs]\n" + hashes;
  return text;
}

RunFolder::RunFolder(const std::filesystem::path& path, const std::string& command,
                     const std::vector<Setting>& settings)
    : path_(path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_directory(path, error))
    throw IoError(path.string() + ": is a file; a run needs a folder");
  const auto config = path / "config.toml";
  if (std::filesystem::exists(config, error)) {
    check_same(read_config(config), command, settings, path);
    return;
  }
  if (std::filesystem::exists(rows_path(), error))
    throw FormatError(path.string(), "",
                      "holds rows.sqlite but no config.toml, so nobody can say what the rows belong to; "
                      "use another --out");
  std::filesystem::create_directories(path, error);
  if (error) throw IoError(path.string() + ": cannot be made: " + error.message());
  write_file(config, config_toml(command, settings));
  is_new_ = true;
}

std::optional<SettingValue> RunFolder::stored(const std::filesystem::path& path, const std::string& flag) {
  const auto config = path / "config.toml";
  std::error_code ignored;
  if (!std::filesystem::exists(config, ignored)) return std::nullopt;
  const Stored there = read_config(config);
  const auto found = there.values.find(flag);
  if (found == there.values.end()) return std::nullopt;
  return found->second;
}

}  // namespace fare
