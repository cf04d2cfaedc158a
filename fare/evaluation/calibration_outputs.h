// What masks of the modes mean and resample put in the place of experts' outputs: outputs on a file of neutral text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "fare/models/model.h"
#include "fare/routing/intervention.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

// Outputs of one expert that are kept for mode resample: those of the first rows that chose it.
inline constexpr int64_t kMostStoredOutputs = 4096;

bool needs_calibration(const Intervention& intervention);

// Fills Mask::stand_ins of every mask that needs them, each calibration file read and run once (docs/study-data.md, neutral
// text: each text by itself, after `prefix_token`, by default the tokenizer's; `max_length` 0 = the model's context). An expert's rows are those that
// chose it in a run without edits: mode mean takes the mean of its outputs, mode resample keeps them.
// Throws as Intervention::check; FormatError where the file is broken, holds a text that cannot be run, or no text chose a
// named expert.
void take_calibration_outputs(std::span<Intervention* const> interventions, const Model& model, const Tokenizer& tokenizer,
                              int64_t max_length, std::optional<int32_t> prefix_token);

}  // namespace fare
