// Texts and word lists of other projects that tasks need: files below share/fare/fixtures, read at run time.
#pragma once

#include <filesystem>
#include <string>

#include "fare/core/json.h"

namespace fare {

// Where the fixture lies. Throws IoError saying where it was looked for.
std::filesystem::path fixture_path(const std::string& name);

// A JSON fixture, read once. Throws IoError, FormatError.
const OrderedJson& json_fixture(const std::string& name);

}  // namespace fare
