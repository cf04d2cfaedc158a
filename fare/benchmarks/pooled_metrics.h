// Metrics that are no means over documents: values, and bootstrap intervals over clusters (statistics page, kinked
// scores and ratios: the whole statistic is computed anew in every replicate).
#pragma once

#include <span>
#include <vector>

#include "fare/benchmarks/task.h"
#include "fare/stats/bootstrap.h"

namespace fare {

// What each cluster contributes to the pooled metrics of `task`: one row per cluster, in order of first appearance.
stats::UnitTable pooled_rows(const Task& task, std::span<const Document> documents,
                             std::span<const std::vector<RequestResult>> results);

// The pooled metrics of `task`, from its documents and their results; empty where it has none.
std::vector<MetricValue> pooled_values(const Task& task, std::span<const Document> documents,
                                       std::span<const std::vector<RequestResult>> results);

// Puts the pooled metrics into `aggregates` (what aggregate_metrics made): compat ones from `compat`, fair ones from
// `fair` results. They have no standard error, as in the harness.
void add_pooled(const Task& task, std::span<const Document> documents,
                std::span<const std::vector<RequestResult>> compat, std::span<const std::vector<RequestResult>> fair,
                std::vector<MetricAggregate>& aggregates);

// One entry {"clusters", "replicates", "undefined_replicates", "confidence", "low", "high", "method", "sd"} per
// statistic: its bootstrap interval when the rows of `clusters` (one per cluster) are drawn with replacement. Numbers
// without a value are null and "reason" says why: fewer than 2 clusters, or as in stats::Distribution. `label` names
// the draws.
std::vector<OrderedJson> cluster_intervals(const stats::UnitTable& clusters, int64_t num_statistics,
                                           const stats::Statistics& statistics, const std::string& label);

// {metric: entry of cluster_intervals} for every pooled metric among `info.metrics`, from the results of its profile. A
// compat metric that is NaN has no interval.
OrderedJson pooled_errors(const Task& task, const TaskInfo& info, std::span<const Document> documents,
                          std::span<const std::vector<RequestResult>> compat,
                          std::span<const std::vector<RequestResult>> fair);

}  // namespace fare
