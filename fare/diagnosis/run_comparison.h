// Runs beside each other (methods A10): where each model stops, and p values corrected over all candidates together.
#pragma once

#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

struct ComparedRun {
  std::string name;    // what the run is called in the tables: unique
  OrderedJson report;  // its report.json
};

// docs/comparison-json.md ("fare-comparison/1"): one row per run and one per candidate. The p of r1 of every candidate
// of every run form one family (Benjamini-Hochberg); a verdict that rests on an r1 which that family takes away is
// named. Throws UsageError for fewer than two runs, for names used twice, and when two runs are the same one;
// FormatError naming the run when a report lacks a field.
OrderedJson compare_runs(const std::vector<ComparedRun>& runs);

}  // namespace fare
