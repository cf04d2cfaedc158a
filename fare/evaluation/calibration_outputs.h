// What masks of the modes mean and resample put in the place of experts' outputs: outputs on a file of neutral text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "fare/models/model.h"
#include "fare/routing/intervention.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

// Outputs of one expert that are kept for mode resample: those of the first rows.
inline constexpr int64_t kMostStoredOutputs = 4096;

bool needs_calibration(const Intervention& intervention);

// Fills Mask::stand_ins of every mask that needs them, each calibration file read and run once (docs/study-data.md,
// neutral text: each text by itself, after `prefix_token`, by default the tokenizer's; `max_length` 0 = the model's
// context). An expert's outputs are E(x) on every row of a run without edits, whether the row chose it or not (methods
// A8): mode mean takes their mean, mode resample keeps them. Throws as Intervention::check; FormatError where the file
// is broken or holds a text that cannot be run.
void take_calibration_outputs(std::span<Intervention* const> interventions, const Model& model,
                              const Tokenizer& tokenizer, int64_t max_length, std::optional<int32_t> prefix_token);

}  // namespace fare
