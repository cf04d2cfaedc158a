#include "fare/evaluation/baseline_comparison.h"

#include "fare/benchmarks/paired_metrics.h"
#include "fare/benchmarks/registry.h"
#include "fare/evaluation/evaluation.h"
#include "fare/evaluation/group_metrics.h"

namespace fare {

std::vector<OrderedJson> compare_with(const BenchmarkSet& set, const RequestPool& pool, const PoolScores& baseline,
                                      const std::vector<TaskEvaluation>& tasks, const EvaluationOptions& options) {
  const PairedOptions paired{options.seed, options.num_threads};
  std::vector<TaskEvaluation> before;
  for (size_t t = 0; t < tasks.size(); ++t) before.push_back(evaluate_task(set, t, pool, baseline, options.profiles));
  std::vector<PairedTask> pairs;
  const auto run_of = [](const TaskEvaluation& task) {
    return RunOfTask{task.samples, task.results, task.fair_results};
  };
  for (size_t t = 0; t < tasks.size(); ++t)
    pairs.push_back(
        {set.tasks[t].task, &tasks[t].info, set.tasks[t].data.documents, run_of(before[t]), run_of(tasks[t])});
  std::vector<OrderedJson> comparisons;
  for (const PairedTask& pair : pairs)
    for (OrderedJson& entry : compare_runs(pair, paired)) comparisons.push_back(std::move(entry));
  for (const GroupResults& group : set.groups) {
    std::vector<PairedTask> members;
    for (const size_t t : group_leaves(tasks, group.name)) members.push_back(pairs[t]);
    if (members.empty()) continue;
    for (const std::string& metric : find_group(group.name)->metrics)
      if (auto entry = compare_group(group.name, metric, members, paired)) comparisons.push_back(std::move(*entry));
  }
  adjust_family(comparisons);
  return comparisons;
}

}  // namespace fare
