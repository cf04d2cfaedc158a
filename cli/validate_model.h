// What `fare validate` says about a model folder, and about a weight file or a tokenizer alone.
#pragma once

#include <filesystem>

namespace fare::cli {

struct ModelChecks {
  bool config_only = false;  // a folder without weights is accepted
  bool read_weights = false;  // read every weight and look for NaN and Inf
  bool fingerprint = false;  // compute and print the fingerprint
};

// Each prints what the file holds to stdout and throws the error of the reader that refuses it.
void check_model_folder(const std::filesystem::path& folder, const ModelChecks& checks);
void check_tokenizer_file(const std::filesystem::path& path);
void check_weight_file(const std::filesystem::path& path, const ModelChecks& checks);

}  // namespace fare::cli
