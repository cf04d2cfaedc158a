// The files of a control model: an ordinary checkpoint folder, the study data, and world.json.
#pragma once

#include <filesystem>

#include "fare/core/json.h"
#include "fare/lab/control_model.h"

namespace fare {

// What the folder was made from: command and every option that decides a byte.
OrderedJson control_stamp(const ControlOptions& options);

OrderedJson control_tokenizer_json(const Language& language);
OrderedJson control_tokenizer_config_json(const Language& language, int64_t max_length);

// docs/world-json.md describes it.
OrderedJson world_json(const ControlModel& model);

// pairs.jsonl, utility.jsonl, neutral.jsonl and generation.jsonl of a world into an existing folder. `neutral`: lines
// of token ids.
void write_study_files(const World& world, const std::vector<std::vector<int64_t>>& neutral,
                       const std::filesystem::path& folder);

// Writes all files into an existing folder, world.json first (it marks the folder as ours), config.json last.
void write_control_files(const ControlModel& model, const std::filesystem::path& folder);

}  // namespace fare
