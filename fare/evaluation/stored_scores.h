// The scores of an earlier run, read back from its rows: the baseline that a run is compared with.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "fare/evaluation/pool_scores.h"

namespace fare {

class StoredScores {
 public:
  // `folder`: the run folder of `fare eval`. Throws IoError without rows there, FormatError where they are not the
  // scores of one model under one intervention.
  explicit StoredScores(const std::filesystem::path& folder);

  // Scores and texts for every request and prompt of `pool`, found by their token ids; the receipt is empty. Throws
  // ModelMismatch saying how many are missing: other tasks, limit, shots, template, context length, tokenizer, or for
  // texts another seed.
  PoolScores of(const RequestPool& pool, const std::vector<std::string>& task_names, uint64_t seed) const;

  const std::filesystem::path& folder() const { return folder_; }
  const std::string& model() const { return model_; }                // fingerprint
  const std::string& intervention() const { return intervention_; }  // hash of its edits; "" without one
  const std::string& sha256() const { return sha256_; }              // over all rows

 private:
  std::filesystem::path folder_;
  std::string model_, intervention_, sha256_;
  std::map<std::string, std::string> scores_;                                    // item to value
  std::map<std::tuple<std::string, std::string, uint64_t>, std::string> texts_;  // task, item, seed to value
};

}  // namespace fare
