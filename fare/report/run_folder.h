// The report's files in a run folder.
#pragma once

#include <filesystem>

#include "fare/core/json.h"

namespace fare {

// Writes report.json, report.html and tables/*.csv into `folder` (which exists), each complete or not at all; tables of
// parts that this report does not have are removed. Nothing is written when the report cannot be drawn.
// Throws FormatError (the report is not a fare-report/1) or IoError naming the path.
void write_report(const std::filesystem::path& folder, const OrderedJson& report);

// The report.json of a run folder. Throws IoError when it is not there, FormatError when it is broken.
OrderedJson read_report(const std::filesystem::path& folder);

}  // namespace fare
