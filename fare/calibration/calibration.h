// Error rates and power of the diagnosis of this build, and where they are kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/calibration/fixed_candidate.h"
#include "fare/calibration/whole_pipeline.h"
#include "fare/core/json.h"

namespace fare {

struct CalibrationOptions {
  bool quick = false;
  double share = 1;               // of the replicates that a full run has in every cell, in (0, 1]; at least five
  std::vector<std::string> only;  // "fixed", "noise" and kinds of models; empty: all of them
  uint64_t seed = 0;
  int num_threads = 1;
  stats::IntervalKind interval = stats::IntervalKind::kPercentile;  // by which the diagnosis decides
};

struct CalibrationDesign {
  bool quick = false;  // less than a full run: marks are judged leniently
  FixedDesign fixed;
  PipelineDesign pipeline;
};
// Throws UsageError where `only` names what the design does not have.
CalibrationDesign calibration_design(const CalibrationOptions& options);

// Runs the design and returns the calibration as its file holds it (docs/calibration.md). The same bytes for the same
// seed on any number of threads, but for the seconds. `build`: build_hash() of the program that asks. A cell that fails
// is listed with its reason (`failed`), and the mark of finished cells is missed. Cells that finish are put into
// `store`, and those there are not run again; it must hold nothing of another design, nullptr: nothing is kept. Throws
// Interrupted.
OrderedJson calibrate(const CalibrationOptions& options, const std::string& build, Store* store,
                      const Progress& progress);
OrderedJson calibrate(CalibrationDesign design, const std::string& build, Store* store, const Progress& progress);

// SHA-256 of the running program's file: a calibration speaks for the program that made it.
std::string build_hash();

// Where the calibration of a build is kept: $XDG_CACHE_HOME/fare (or $HOME/.cache/fare)/calibration-HASH.json, with BCa
// intervals calibration-HASH-bca.json; none when neither is set.
std::optional<std::filesystem::path> calibration_path(const std::string& build, stats::IntervalKind interval);

// Reads a calibration. Throws IoError, and FormatError where the file is another format.
OrderedJson read_calibration(const std::filesystem::path& file);

// Puts "calibration" into report.json: what `file` holds (empty: that of this build and of the report's kind of
// interval), or null with the reason. A calibration of another build is put in and says so (`same_build`).
void put_calibration(OrderedJson& report, const std::filesystem::path& file);

}  // namespace fare
