// The folder of a run: made once with its configuration, continued only under the same one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fare {

using SettingValue = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;

// A flag as it took effect.
struct Setting {
  std::string flag;  // without dashes: "max-length"
  SettingValue value;
  std::string sha256;  // hash of what a path names (file hash, fingerprint); then it counts and the path does not
};

// True for flags that may differ when a run is continued: out, threads, device, quiet, log-level, config and memory
// limits (names ending in "-limit-mb").
bool may_differ(const std::string& flag);

class RunFolder {
 public:
  // Makes the folder (parents included) and its config.toml, or checks the one that is there.
  // Throws ModelMismatch listing every setting that differs, with both values; FormatError when config.toml is broken,
  // or when the folder holds rows but no configuration; IoError when it cannot be made or written. Only a new folder is
  // changed.
  RunFolder(const std::filesystem::path& path, const std::string& command, const std::vector<Setting>& settings);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path rows_path() const { return path_ / "rows.sqlite"; }
  bool is_new() const { return is_new_; }

  // What the config.toml of an existing run folder says of a flag: for choices made once per folder ("matmul") that
  // must be known before the settings are complete. None when there is no such folder, file or flag. Throws FormatError
  // when config.toml is broken.
  static std::optional<SettingValue> stored(const std::filesystem::path& path, const std::string& flag);

 private:
  std::filesystem::path path_;
  bool is_new_ = false;
};

// The text of config.toml: `command`, a line per setting in the order given, and the table [inputs] of hashes.
std::string config_toml(const std::string& command, const std::vector<Setting>& settings);

}  // namespace fare
