// Makes a control model: world, weights, proof, files. The order of that sentence is the order of the code.
#pragma once

#include <filesystem>

#include "fare/core/progress.h"
#include "fare/lab/control_options.h"
#include "fare/lab/control_weights.h"
#include "fare/lab/truth.h"
#include "fare/lab/world.h"

namespace fare {

struct ControlModel {
  World world;
  ControlWeights weights;
  std::vector<std::vector<int64_t>> neutral;
  Truth truth;
};

// Builds the model in memory and proves it (check_truth). Throws UsageError for options that cannot be.
ControlModel build_control_model(const ControlOptions& options, int threads = 0);

// Builds it and writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json, pairs.jsonl,
// utility.jsonl, neutral.jsonl, generation.jsonl and world.json into `folder`. Equal options give equal bytes.
// Throws UsageError (options, a folder that holds something else) and IoError.
ControlModel make_control_model(const ControlOptions& options, const std::filesystem::path& folder,
                                const Progress& progress = {}, int threads = 0);

}  // namespace fare
