#include "fare/benchmarks/pooled_metrics.h"

#include <algorithm>

#include "fare/core/error.h"
#include "fare/stats/bootstrap.h"

namespace fare {
namespace {

constexpr int64_t kReplicates = 2000;
constexpr double kConfidence = 0.95;

// One row per cluster, in order of first appearance.
stats::UnitTable cluster_rows(const Task& task, std::span<const Document> documents,
                              std::span<const std::vector<RequestResult>> results) {
  FARE_CHECK(documents.size() == results.size(), "one list of results per document");
  std::vector<std::string> names;
  for (const Document& document : documents) names.push_back(document.cluster);
  const stats::Clusters clusters = stats::cluster_by_name(names);
  std::vector<std::vector<double>> sums(static_cast<size_t>(clusters.num_clusters));
  for (size_t d = 0; d < documents.size(); ++d) {
    const std::vector<double> row = task.pooled->row(documents[d], results[d]);
    std::vector<double>& sum = sums[static_cast<size_t>(clusters.of_item[d])];
    sum.resize(row.size(), 0.0);
    for (size_t k = 0; k < row.size(); ++k) sum[k] += row[k];
  }
  stats::UnitTable table;
  for (const std::vector<double>& sum : sums) {
    const std::vector<double> cells = task.pooled->of_cluster ? task.pooled->of_cluster(sum) : sum;
    table.num_columns = static_cast<int64_t>(cells.size());
    table.cells.insert(table.cells.end(), cells.begin(), cells.end());
  }
  return table;
}

bool names(const MetricInfo& info, const MetricValue& value) {
  return info.pooled && info.name == value.name && info.filter == value.filter;
}

}  // namespace

std::vector<MetricValue> pooled_values(const Task& task, std::span<const Document> documents,
                                       std::span<const std::vector<RequestResult>> results) {
  if (!task.pooled || documents.empty()) return {};
  const stats::UnitTable table = cluster_rows(task, documents, results);
  std::vector<double> totals(static_cast<size_t>(table.num_columns), 0.0);
  for (size_t i = 0; i < table.cells.size(); ++i) totals[i % totals.size()] += table.cells[i];
  return task.pooled->metrics(totals);
}

void add_pooled(const Task& task, std::span<const Document> documents,
                std::span<const std::vector<RequestResult>> compat, std::span<const std::vector<RequestResult>> fair,
                std::vector<MetricAggregate>& aggregates) {
  if (!task.pooled) return;
  const auto from_compat = pooled_values(task, documents, compat);
  const auto from_fair = pooled_values(task, documents, fair);
  for (const MetricInfo& info : task.info.metrics) {
    for (const MetricValue& value : info.profile == Profile::kFair ? from_fair : from_compat) {
      if (!names(info, value)) continue;
      for (MetricAggregate& aggregate : aggregates)
        if (aggregate.name == info.name && aggregate.filter == info.filter)
          aggregate = {info.name,    value.value, std::nullopt, static_cast<int64_t>(documents.size()),
                       value.reason, info.filter};
    }
  }
}

OrderedJson pooled_errors(const Task& task, const TaskInfo& info, std::span<const Document> documents,
                          std::span<const std::vector<RequestResult>> results) {
  OrderedJson errors = OrderedJson::object();
  if (!task.pooled || documents.empty()) return errors;
  const stats::UnitTable table = cluster_rows(task, documents, results);
  std::vector<size_t> places;  // of the fair metrics among the pooled values
  std::vector<std::string> wanted;
  const auto values = pooled_values(task, documents, results);
  for (const MetricInfo& metric : info.metrics)
    for (size_t i = 0; i < values.size(); ++i)
      if (metric.profile == Profile::kFair && names(metric, values[i]))
        places.push_back(i), wanted.push_back(metric.name);
  if (places.empty()) return errors;
  const auto statistics = [&](std::span<const double> totals, std::span<std::optional<double>> out) {
    const auto replicate = task.pooled->metrics(totals);
    for (size_t i = 0; i < places.size(); ++i) out[i] = replicate[places[i]].value;
  };
  const auto distributions = stats::bootstrap(table, static_cast<int64_t>(places.size()), statistics,
                                              {.label = "bootstrap/cluster/" + info.name, .replicates = kReplicates});
  for (size_t i = 0; i < places.size(); ++i) {
    const stats::Distribution& distribution = distributions[i];
    OrderedJson entry{{"clusters", table.num_units()},
                      {"replicates", kReplicates},
                      {"undefined_replicates", distribution.num_undefined},
                      {"confidence", kConfidence},
                      {"low", nullptr},
                      {"high", nullptr},
                      {"method", nullptr},
                      {"sd", nullptr}};
    if (const auto interval = distribution.bca_or_percentile(kConfidence)) {
      entry["low"] = interval->interval.low;
      entry["high"] = interval->interval.high;
      entry["method"] = interval->method;
      if (const auto sd = distribution.replicate_sd()) entry["sd"] = *sd;
    } else {
      entry["reason"] = interval.reason;
    }
    errors[wanted[i]] = std::move(entry);
  }
  return errors;
}

}  // namespace fare
