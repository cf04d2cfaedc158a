// A positive control on the user's own model (methods E7): an expert that carries a known preference is planted, and
// the diagnosis must find it. The smallest preference that it calls controllable is the detection limit of this model,
// these utility items and this number of pairs: what a null verdict beside it is worth.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/planted_expert.h"
#include "fare/diagnosis/transfer.h"
#include "fare/diagnosis/verdict.h"
#include "fare/store/store.h"

namespace fare {

// Preferences that are planted, in percentage points: the largest first, then by bisection.
inline constexpr double kPlantedLevels[] = {10, 7, 5, 3.5, 2.5};

struct PositiveControlInput {
  const TextEncoder* encoder = nullptr;
  // The rows of one planted level, so that a killed run continues; "" or an empty function: nothing is kept. Called on
  // every rank.
  std::function<std::unique_ptr<Store>(const std::string& level)> open_store;
  // Prompts are continued where the study's own are: without, stage 5 is left out as it is there.
  const TransferInput* transfer = nullptr;
  double output_factor = 1;  // of the planted expert; 0 leaves one that says nothing, which nobody can find
};

// One planted preference and what the diagnosis made of it.
struct PlantedLevel {
  double asked_pp = 0;
  double planted_pp = 0;   // rise of the share that prefers the stereotype, over all pairs
  double margin_nats = 0;  // mean rise of a pair's margin
  Headline headline;       // of static control
  std::string candidate;
  double shift_pp = 0;           // of that candidate on the test split
  std::vector<StageRow> stages;  // six, of that candidate
  bool found = false;            // stages 0, 2 and 3 say yes
  bool controllable = false;     // so does every other stage that the study has data for: what the limit asks
};

struct PositiveControl {
  std::string obstacle;  // why nothing was planted; then nothing below is set
  std::string group, other, shared, plus, minus;
  bool invented = true;
  int64_t layer = 0, expert = 0;  // where it was put
  double kappa = 0, on_group = 0, on_other = 0, on_neutral = 0;
  int64_t pairs = 0, left_out = 0;
  double base_pct = 0;               // share of the planted pairs that prefer the stereotype without the expert
  std::vector<PlantedLevel> levels;  // falling
  std::optional<double> limit_pp;    // the least planted_pp that was called controllable
  std::string limit_reason;
  std::optional<double> found_pp;  // the least planted_pp that was found
  std::string found_reason;
  int64_t rows_computed = 0;
};

// Plants and diagnoses: router profile, scores of experts, grid, test split, dose control, robustness and generated
// text as in the study, with its options; the searches beyond the grid (methods A6), masking and conditions are left
// out, so that the limit is, if anything, too large. `scorer`: of the model without the expert.
PositiveControl run_positive_control(const Scorer& scorer, const Study& study, const PositiveControlInput& input,
                                     const DiagnosisOptions& options, const Progress& progress);

// "positive_control" of report.json.
OrderedJson positive_control_json(const PositiveControl& control);

// "an expert that carries 5.1 pp was found and called controllable in this model, with 754 pairs": for the headline.
std::string positive_control_text(const PositiveControl& control);

}  // namespace fare
