// Metrics that are no means over documents: values, and bootstrap intervals over clusters (statistics page, kinked
// scores and ratios: the whole statistic is computed anew in every replicate).
#pragma once

#include <span>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// The pooled metrics of `task`, from its documents and their results; empty where it has none.
std::vector<MetricValue> pooled_values(const Task& task, std::span<const Document> documents,
                                       std::span<const std::vector<RequestResult>> results);

// Puts the pooled metrics into `aggregates` (what aggregate_metrics made): compat ones from `compat`, fair ones from
// `fair` results. They have no standard error, as in the harness.
void add_pooled(const Task& task, std::span<const Document> documents,
                std::span<const std::vector<RequestResult>> compat, std::span<const std::vector<RequestResult>> fair,
                std::vector<MetricAggregate>& aggregates);

// {metric: {"clusters", "replicates", "undefined_replicates", "confidence", "low", "high", "method", "sd"}} for every
// pooled fair metric among `info.metrics`: clusters are drawn with replacement. Undefined numbers are null with a
// reason.
OrderedJson pooled_errors(const Task& task, const TaskInfo& info, std::span<const Document> documents,
                          std::span<const std::vector<RequestResult>> results);

}  // namespace fare
