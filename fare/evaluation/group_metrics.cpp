#include "fare/evaluation/group_metrics.h"

#include <algorithm>

#include "fare/benchmarks/registry.h"
#include "fare/stats/clusters.h"
#include "fare/stats/harness_stderr.h"

namespace fare {

std::vector<size_t> group_leaves(std::span<const TaskEvaluation> tasks, const std::string& group) {
  const TaskGroup* definition = find_group(group);
  if (definition == nullptr || definition->metrics.empty()) return {};
  std::vector<size_t> leaves;
  for (const Task* leaf : leaf_tasks(*definition)) {
    const auto found = std::find_if(tasks.begin(), tasks.end(),
                                    [&](const TaskEvaluation& task) { return task.info.name == leaf->info.name; });
    if (found == tasks.end()) return {};
    leaves.push_back(static_cast<size_t>(found - tasks.begin()));
  }
  return leaves;
}

void add_group_metrics(std::span<const TaskEvaluation> tasks, GroupResults& group) {
  std::vector<const TaskEvaluation*> leaves;
  for (const size_t leaf : group_leaves(tasks, group.name)) leaves.push_back(&tasks[leaf]);
  if (leaves.empty()) return;
  const TaskGroup* definition = find_group(group.name);
  for (const TaskEvaluation* leaf : leaves) group.num_samples += static_cast<int64_t>(leaf->samples.size());
  const bool with_fair = std::ranges::any_of(leaves[0]->metrics,
                                             [](const MetricAggregate& metric) { return is_fair_metric(metric.name); });
  for (const std::string& name : definition->metrics) {
    std::vector<double> values, errors, sums, counts;
    std::vector<int64_t> sizes;
    bool all_errors = true;
    for (const TaskEvaluation* leaf : leaves) {
      for (const MetricAggregate& metric : leaf->metrics) {
        if (metric.name != name || !metric.value) continue;
        values.push_back(*metric.value);
        sizes.push_back(metric.num_values);
        counts.push_back(static_cast<double>(metric.num_values));
        sums.push_back(*metric.value * counts.back());
        all_errors = all_errors && metric.stderr_value.has_value();
        errors.push_back(metric.stderr_value.value_or(0));
      }
    }
    if (values.size() != leaves.size()) continue;  // the profile was not asked for, or a task has no value
    const bool fair = is_fair_metric(name);
    MetricAggregate weighted{name, stats::harness_weighted_mean(values, sizes).number};
    double plain = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      weighted.num_values += sizes[i];
      plain += values[i] / static_cast<double>(values.size());
    }
    if (fair && static_cast<int64_t>(leaves.size()) >= kTasksAsClusters) {
      if (const auto mean = stats::ratio_of_sums(sums, counts)) weighted.stderr_value = mean->se;
    } else if (all_errors) {
      weighted.stderr_value = stats::harness_pooled_stderr(errors, sizes).number;
    }
    group.metrics.push_back(weighted);
    if (with_fair)
      group.metrics.push_back(
          {(fair ? "" : "fare_compat_") + name + "_macro", plain, std::nullopt, weighted.num_values});
  }
}

}  // namespace fare
