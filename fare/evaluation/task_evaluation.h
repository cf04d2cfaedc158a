// From scores to what a task reports: metrics per document and over documents, errors, tables, counts.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/evaluation/pool_scores.h"

namespace fare {

struct Profiles {
  bool compat = true;
  bool fair = true;
};

// How the requests of a task fared. Documents are counted when one of their requests is.
struct TaskCounts {
  int64_t num_requests = 0;
  int64_t boundary_merge_requests = 0, boundary_merge_documents = 0;
  int64_t truncated_requests = 0, truncated_documents = 0, truncated_tokens = 0;
  int64_t routing_near_tie_documents = 0;
  int64_t cut_off_texts = 0;  // generated texts that reached the allowed number of tokens
};

struct TaskEvaluation {
  TaskInfo info;                                         // its metrics are those asked for
  std::vector<std::vector<RequestResult>> results;       // [document][request], cut as the harness cuts
  std::vector<std::vector<RequestResult>> fair_results;  // the same by the prompt's own tokens
  std::vector<SampleMetrics> samples;
  std::vector<MetricAggregate> metrics;
  std::vector<double>
      decision_margins_nats;  // best minus second-best log-likelihood; documents with two requests or more
  OrderedJson errors;         // metric_errors; null without the fair profile
  OrderedJson tables;         // the task's own; null without the fair profile
  TaskCounts counts;
};

// `task` is the position in the set and the pool.
TaskEvaluation evaluate_task(const BenchmarkSet& set, size_t task, const RequestPool& pool, const PoolScores& scores,
                             Profiles profiles);

}  // namespace fare
