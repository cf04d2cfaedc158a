// What a diagnosis would run, how long it would take and what memory it needs, from a short probe (fare diagnose
// --dry-run). Estimates, not promises: an edit's cost depends on how far down it starts and how many tokens it changes,
// and is taken as the mean over some edits of the grid's middle breadth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"

namespace fare {

struct PlannedPart {
  std::string part, what;
  double plain_tokens = 0;   // fed without an edit, prefix sharing not deducted
  double edited_tokens = 0;  // fed under an edit
  double forwards = 0;       // both, in passes over all pairs and utility items
  double seconds = 0;
};

// Parts with their tokens and forwards, in the order they are run; seconds are 0.
std::vector<PlannedPart> planned_parts(const RoutedModel& model, const Study& study, const DiagnosisOptions& options);

struct Plan {
  std::vector<PlannedPart> parts;
  double forwards = 0, seconds = 0;
  double probe_seconds = 0, plain_tokens_per_second = 0, edited_tokens_per_second = 0;
  int64_t weights_bytes = 0;    // as stored; they stay mapped
  int64_t working_bytes = 0;    // beside them: peak of the probe, kept neutral log-probabilities, records of a unit
  int64_t available_bytes = 0;  // 0: the system does not say
};

// Runs the model on items of the train split for about `probe_seconds`; nothing is stored and no test item is looked
// at.
Plan plan_diagnosis(const Scorer& scorer, const Study& study, const DiagnosisOptions& options, double probe_seconds,
                    const Progress& progress);

std::string plan_text(const Plan& plan);  // a table for people

}  // namespace fare
