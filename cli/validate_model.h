// What `fare validate` does with model folders, tokenizers and single weight files.
#pragma once

#include <filesystem>

#include "cli/finding.h"

namespace fare::cli {

struct ModelChecks {
  bool read_weights = false;  // look for NaN and Inf
  bool fingerprint = false;
};

// Each throws what is wrong with the file (docs/validate.md says what is found).
Finding check_model_folder(const std::filesystem::path& folder, const ModelChecks& checks);
// Only config.json: `path` is the file, whatever its name, or a folder that holds one.
Finding check_model_config(const std::filesystem::path& path);
Finding check_tokenizer_file(const std::filesystem::path& path);
Finding check_weight_file(const std::filesystem::path& path, const ModelChecks& checks);

}  // namespace fare::cli
