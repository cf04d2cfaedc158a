// The whole diagnosis, from data to report.json (methods A0).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/positive_control.h"
#include "fare/diagnosis/study.h"
#include "fare/diagnosis/transfer.h"

namespace fare {

// What the caller knows about the run and the report repeats.
struct RunInfo {
  std::vector<std::string> command;  // the arguments as given
  std::string device = "cpu", dtype = "f32", backend;
  int64_t threads = 1;
  int64_t limit = 0;
  std::map<std::string, std::string> versions;
  std::string commit;
  std::function<std::string(int32_t)> spelling;  // of a token; may be empty
};

struct Diagnosis {
  OrderedJson report;                 // docs/report-json.md; null when a required self-check failed
  std::vector<std::string> failures;  // required self-checks that failed: rows are kept, there is no verdict
  std::vector<std::string> warnings;  // advisory checks that failed, skipped items
};

// Runs every part built, keeps rows in `store` (may be null) and writes thresholds.json and interventions/*.json into
// `folder` before the test split is opened. A thresholds.json that is already there must be the same, byte for byte
// (ModelMismatch otherwise): the test split is opened once, under one set of thresholds. An empty `folder`: nothing is
// written or compared, as on every rank but the first. `transfer` may be null: stage 5 then is not run. So may
// `planted`: no positive control is run then; its own `transfer` is that of this call.
Diagnosis diagnose(const Scorer& scorer, const Study& study, Store* store, const std::filesystem::path& folder,
                   const DiagnosisOptions& options, const RunInfo& info, const Progress& progress,
                   const TransferInput* transfer = nullptr, const PositiveControlInput* planted = nullptr);

}  // namespace fare
