// A run compared with an earlier one of the same requests, task by task and group by group.
#pragma once

#include <vector>

#include "fare/core/json.h"
#include "fare/evaluation/task_evaluation.h"

namespace fare {

struct EvaluationOptions;

// The entries of `fare.comparisons` (fare/benchmarks/paired_metrics.h), p adjusted over all of them. `baseline`: scores
// of the earlier run for the requests of `pool`; `tasks`: what this run made of them, in the order of the set.
std::vector<OrderedJson> compare_with(const BenchmarkSet& set, const RequestPool& pool, const PoolScores& baseline,
                                      const std::vector<TaskEvaluation>& tasks, const EvaluationOptions& options);

}  // namespace fare
