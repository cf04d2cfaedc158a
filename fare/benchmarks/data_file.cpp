#include "fare/benchmarks/data_file.h"

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

constexpr char kOverrideHint[] =
    "get the published file again, or accept the change explicitly (--accept-changed-data)";

std::vector<std::string> names_of(const DataFile& file) {
  std::vector<std::string> names{file.path};
  names.insert(names.end(), file.other_paths.begin(), file.other_paths.end());
  return names;
}

}  // namespace

std::optional<std::filesystem::path> locate(const DataFile& file, const std::filesystem::path& data) {
  std::error_code ignored;
  for (const auto& name : names_of(file)) {
    for (const char* ending : {"", ".gz"}) {
      const std::filesystem::path path = data / (name + ending);
      if (std::filesystem::is_regular_file(path, ignored)) return path;
    }
  }
  return std::nullopt;
}

LoadedFile load_data_file(const DataFile& file, const std::filesystem::path& data, bool accept_changed) {
  const auto found = locate(file, data);
  if (!found) {
    std::string tried;
    for (const auto& name : names_of(file)) tried += (tried.empty() ? "" : ", ") + name;
    throw IoError((data / file.path).string() + ": no such file (also tried with .gz: " + tried +
                  "); set --data or FARE_DATA to the folder that holds it, see docs/data.md");
  }
  LoadedFile loaded;
  loaded.path = found->lexically_relative(data).string();
  loaded.content = read_file(*found);
  loaded.sha256 = sha256_hex(loaded.content);
  if (!file.sha256.empty() && loaded.sha256 != file.sha256) {
    if (!accept_changed)
      throw FormatError(
          found->string(), "",
          "SHA-256 is " + loaded.sha256 + ", but the published file has " + file.sha256 + "; " + kOverrideHint);
    loaded.changed = true;
  }
  return loaded;
}

void check_num_records(LoadedFile& loaded, const DataFile& file, int64_t num_records, bool accept_changed) {
  loaded.num_records = num_records;
  if (file.num_records == 0 || num_records == file.num_records) return;
  if (!accept_changed)
    throw FormatError(loaded.path, "",
                      std::to_string(num_records) + " records, but the published file has " +
                          std::to_string(file.num_records) + "; " + kOverrideHint);
  loaded.changed = true;
}

}  // namespace fare
