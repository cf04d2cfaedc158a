// Test help: a small control model on disk, opened with its study, ready to be measured.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "fare/core/test_folder.h"
#include "fare/diagnosis/measure.h"
#include "fare/lab/control_options.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

inline ControlOptions small_control(const std::string& id, const std::string& weights = "renormalised") {
  ControlOptions options;
  options.id = id;
  options.weights = weights;
  options.pairs = 192;
  options.transfer_pairs = 24;
  options.facts = 144;
  options.utility = 200;
  options.prompts = 32;
  options.neutral_tokens = 2600;
  return options;
}

// make_control_model, behind a function: the tests need not know the lab's headers.
void write_control_model(const ControlOptions& options, const std::filesystem::path& folder);

struct ControlStudy {
  explicit ControlStudy(const ControlOptions& options, at::ScalarType dtype = at::kFloat)
      : folder("study-" + options.id + "-" + options.weights) {
    write_control_model(options, folder.path());
    Execution execution;
    execution.dtype = dtype;
    model = Model::open(folder.path(), execution);
    tokenizer = Tokenizer::open(folder.path());
    StudyFiles files;
    files.pairs = folder.path() / "pairs.jsonl";
    files.utility = folder.path() / "utility.jsonl";
    files.neutral = folder.path() / "neutral.jsonl";
    study = make_study(read_study(files), TextEncoder(*tokenizer), model->spec().max_positions,
                       model->spec().vocab_size, 0);
    scorer = std::make_unique<Scorer>(*model, ScorerOptions{});
    measurer = std::make_unique<Measurer>(*scorer, study, nullptr, progress);
  }

  TestFolder folder;
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  Study study;
  Progress progress;
  std::unique_ptr<Scorer> scorer;
  std::unique_ptr<Measurer> measurer;
};

}  // namespace fare
