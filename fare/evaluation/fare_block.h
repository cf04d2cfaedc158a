// The object `fare` of a results file (docs/results-layout.md): what the harness's layout has no place for.
#pragma once

#include <string>
#include <vector>

#include "fare/evaluation/evaluation.h"

namespace fare {

struct FareBlock {
  std::vector<TaskEvaluation> tasks;
  std::string model_fingerprint;
  std::vector<OrderedJson> comparisons;  // with the baseline, where there is one
  size_t rescored = 0;                   // requests scored a second time, one at a time
  double largest_rescoring_difference_nats = 0;
};

OrderedJson fare_block(const FareBlock& block, const BenchmarkSet& set, const Model& model,
                       const Intervention* intervention, const PoolScores& scores, const EvaluationOptions& options,
                       const Tokenizer& tokenizer);

}  // namespace fare
