// Reads the numbers of a results file of lm-evaluation-harness, written by FARE or by the harness itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

struct ReadMetric {
  std::string task;                    // or group
  std::string metric;                  // "acc"
  std::string filter;                  // "none"; also for files of the harness 0.3, which name none
  std::optional<double> value;         // none: null in the file; NaN stays NaN
  std::optional<double> stderr_value;  // none: "N/A", null or not there
};

struct ReadResults {
  std::vector<ReadMetric> metrics;  // in file order
  std::string model_name;           // "" where the file names none
  OrderedJson all;                  // the whole file
};

// Accepts files of the harness 0.3 (plain metric names, no sample counts) and 0.4 (with and without start and end
// time). Throws IoError, and FormatError for what is not a results object: no `results`, a metric that is neither
// number nor null.
ReadResults read_harness_results(const std::filesystem::path& path);

}  // namespace fare
