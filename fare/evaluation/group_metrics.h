// Numbers of a group of tasks.
#pragma once

#include <span>

#include "fare/evaluation/task_evaluation.h"

namespace fare {

// Positions in `tasks` of the leaf tasks of a group that has numbers; empty where it has none or one of them is not
// there.
std::vector<size_t> group_leaves(std::span<const TaskEvaluation> tasks, const std::string& group);

// Fills `group.metrics` and `num_samples` from its evaluated leaf tasks: for each metric of the group the mean weighted
// by the number of documents with its pooled standard error (the harness's weight_by_size). With the fair profile also
// the plain mean over tasks: of `fare_acc` as `fare_acc_macro`, of `acc` as `fare_compat_acc_macro`. From
// kTasksAsClusters leaves on the errors of fair means take the tasks as clusters. Empty where the group has no numbers
// or a leaf was not evaluated.
void add_group_metrics(std::span<const TaskEvaluation> tasks, GroupResults& group);

}  // namespace fare
