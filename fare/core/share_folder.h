// Where the files that come with the program lie (share/fare): not compiled in, found at run time.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace fare {

// The file `name` (e.g. "fixtures/primer.txt") below the share folder. Tried in this order: $FARE_SHARE when set;
// `share/fare` in each folder above the program or library that holds this code; the source tree it was built from.
// None when no place has it.
std::optional<std::filesystem::path> find_shared_file(const std::string& name);

}  // namespace fare
