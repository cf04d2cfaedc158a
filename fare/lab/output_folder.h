// Where a made model goes: a folder of its own, never one that holds something else.
#pragma once

#include <filesystem>

#include "fare/core/json.h"

namespace fare {

// Makes `folder` ready: creates it (with its parents), or accepts one that is empty or was made by the same command:
// its `stamp_name` then holds the same "made_by". Throws UsageError with both settings where it differs, and where the
// folder holds files but no stamp; IoError where it cannot be created.
void prepare_output_folder(const std::filesystem::path& folder, const std::string& stamp_name,
                           const OrderedJson& made_by);

// JSON as the lab writes it: indented by two, a newline at the end, complete or not at all.
void write_json_file(const std::filesystem::path& path, const OrderedJson& json);

}  // namespace fare
