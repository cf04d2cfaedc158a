// Checks of the files that FARE itself writes, for whoever reads them: docs/scores.md, receipt.md, report-json.md,
// store.md. Each throws a FormatError with the file and the line or field that is wrong.
#pragma once

#include <filesystem>

#include "cli/finding.h"

namespace fare::cli {

Finding check_scores(const std::filesystem::path& path);  // of fare score
Finding check_texts(const std::filesystem::path& path);   // of fare generate
Finding check_receipt(const std::filesystem::path& path);
Finding check_report(const std::filesystem::path& path);  // of fare diagnose, probe and mask
Finding check_rows(const std::filesystem::path& path);    // rows.sqlite
Finding check_run(const std::filesystem::path& folder);   // a run folder: its rows, and its report where there is one

}  // namespace fare::cli
