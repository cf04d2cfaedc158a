#include "fare/core/share_folder.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace fare {
namespace {

// The folders above the program or shared library that this code was linked into, innermost first.
std::vector<std::filesystem::path> folders_above_this_binary() {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  std::filesystem::path binary = std::filesystem::read_symlink("/proc/self/exe", error);
  // In a Python process the executable is the interpreter; the library that holds this function is ours.
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&folders_above_this_binary), &info) != 0 && info.dli_fname != nullptr) {
    const auto library = std::filesystem::canonical(info.dli_fname, error);
    if (!error) binary = library;
  }
  for (auto folder = binary.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    folders.push_back(folder);
    if (folder == folder.root_path()) break;
  }
  return folders;
}

}  // namespace

std::optional<std::filesystem::path> find_shared_file(const std::string& name) {
  std::vector<std::filesystem::path> places;
  if (const char* chosen = std::getenv("FARE_SHARE"); chosen != nullptr && *chosen != '\0') places.emplace_back(chosen);
  for (const auto& folder : folders_above_this_binary()) places.push_back(folder / "share" / "fare");
  places.emplace_back(FARE_SHARE_OF_SOURCE);
  std::error_code ignored;
  for (const auto& place : places)
    if (std::filesystem::is_regular_file(place / name, ignored)) return place / name;
  return std::nullopt;
}

}  // namespace fare
