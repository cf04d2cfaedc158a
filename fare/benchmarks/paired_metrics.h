// Two runs of the same documents compared metric by metric: change, interval, p, and how large a change could have been
// missed. Documents of one cluster are drawn and exchanged together (statistics page, rules 1 and 2).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/task.h"

namespace fare {

// What one run made of a task's documents.
struct RunOfTask {
  std::span<const SampleMetrics> samples;
  std::span<const std::vector<RequestResult>> compat,
      fair;  // results as the harness cuts them, and by the prompt's own tokens
};

struct PairedTask {
  const Task* task = nullptr;
  const TaskInfo* info = nullptr;  // its metrics are those compared
  std::span<const Document> documents;
  RunOfTask baseline, run;
};

struct PairedOptions {
  uint64_t seed = 0;
  int num_threads = 1;
};

// One entry of `fare.comparisons` per metric (docs/results-layout.md). Means over documents: exact bounds where fewer
// than ten clusters changed a yes/no metric, t over clusters below 20 of them, else BCa bootstrap; p by sign flips of
// clusters. Pooled metrics: the difference is computed anew in every draw, p by exchanging whole clusters. `p_adjusted`
// is left to adjust_family().
std::vector<OrderedJson> compare_runs(const PairedTask& task, const PairedOptions& options);

// The mean over all documents of several tasks, as a group reports it. Clusters are the tasks from ten tasks on (the
// subjects of MMLU), else those of the documents. None where no task has the metric.
std::optional<OrderedJson> compare_group(const std::string& group, const std::string& metric,
                                         std::span<const PairedTask> tasks, const PairedOptions& options);

// Benjamini-Hochberg over all entries that have a p.
void adjust_family(std::vector<OrderedJson>& comparisons);

}  // namespace fare
