// One evaluation from loaded tasks to the files of the harness's layout.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/evaluation/stored_scores.h"
#include "fare/evaluation/task_evaluation.h"

namespace fare {

struct EvaluationOptions {
  Profiles profiles;
  ScorerOptions scorer;
  std::optional<int32_t> prefix_token;
  uint64_t seed = 0;       // of the sample that is scored a second time
  std::string model_name;  // as the user wrote it; names the folder of the results
  std::string program_version;
  std::optional<int64_t> limit;              // for the record
  const StoredScores* baseline = nullptr;    // an earlier run of the same requests to compare with; may be null
  int num_threads = 1;                       // of the comparison's statistics; changes no number
  std::optional<std::string> chat_template;  // the text of the template that requests went through; for the record
};

// What the results file says beside the scores.
struct Evaluation {
  OrderedJson results;  // the results object, `fare` included
  std::vector<std::string> task_names;
  std::vector<std::string> sample_files;  // content, one per task
  std::vector<std::string> notes;         // sentences a reader of the table should see
  Receipt receipt;
  int64_t num_units = 0, num_units_stored = 0;
};

// Scores all requests (units already in `store` are taken from there) and computes every number that is written.
// `intervention` and `store` may be null. `start_microseconds`: UNIX time of the run's first start.
// Throws what pool_requests and score_pool throw.
Evaluation run_evaluation(const BenchmarkSet& set, const Model& model, const Tokenizer& tokenizer,
                          const Intervention* intervention, const EvaluationOptions& options,
                          int64_t start_microseconds, Store* store, const Progress& progress);

// Where an evaluation's files lie.
struct ResultPaths {
  std::filesystem::path results;
  std::vector<std::filesystem::path> samples;  // one per task
};
// `out` is a folder: OUT/MODEL/results_STAMP.json; or ends in .json: STEM_STAMP.json beside it.
ResultPaths result_paths(const std::filesystem::path& out, const std::string& model_name,
                         const std::vector<std::string>& task_names, int64_t start_microseconds);
// The folder that holds config.toml and the rows: `out` itself; for FILE.json the folder FILE.run beside it.
std::filesystem::path run_folder_of(const std::filesystem::path& out);

// Writes samples, then results; where the results of this stamp are there already, nothing.
void write_evaluation(const Evaluation& evaluation, const ResultPaths& paths);

// UNIX time in microseconds of the first start of the run in `folder`: read from start.json, or now, which is then
// written there. Throws FormatError when the file is broken.
int64_t first_start(const std::filesystem::path& folder);

}  // namespace fare
