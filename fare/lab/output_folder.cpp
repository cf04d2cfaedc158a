#include "fare/lab/output_folder.h"

#include <system_error>

#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {

void prepare_output_folder(const std::filesystem::path& folder, const std::string& stamp_name,
                           const OrderedJson& made_by) {
  if (folder.empty()) throw UsageError("--out: name a folder");
  std::error_code failure;
  if (std::filesystem::exists(folder) && !std::filesystem::is_directory(folder))
    throw UsageError("--out " + folder.string() + ": is a file; name a folder that is empty or does not exist yet");
  std::filesystem::create_directories(folder, failure);
  if (failure)
    throw IoError(folder.string() + ": cannot create the folder: " + failure.message() +
                  "; check --out and its rights");
  const std::filesystem::directory_iterator first(folder, failure);
  if (failure) throw IoError(folder.string() + ": cannot read the folder: " + failure.message());
  if (first == std::filesystem::directory_iterator()) return;

  const std::filesystem::path stamp = folder / stamp_name;
  if (!std::filesystem::exists(stamp))
    throw UsageError("--out " + folder.string() +
                     ": the folder holds files that this command did not make; name an empty folder");
  const Json old = read_json_file(stamp);
  const Json wanted = Json::parse(made_by.dump());
  const Json found = old.is_object() && old.contains("made_by") ? old["made_by"] : Json();
  if (found == wanted) return;
  std::string difference;
  for (const auto& [key, value] : wanted.items())
    if (!found.is_object() || !found.contains(key) || found[key] != value)
      difference += (difference.empty() ? "" : ", ") + key + " " +
                    (found.is_object() && found.contains(key) ? found[key].dump() : "unknown") + " there, " +
                    value.dump() + " asked for";
  throw UsageError("--out " + folder.string() + ": the folder holds another model (" + difference +
                   "); name another folder");
}

void write_json_file(const std::filesystem::path& path, const OrderedJson& json) {
  write_file(path, json.dump(2) + "\n");
}

}  // namespace fare
