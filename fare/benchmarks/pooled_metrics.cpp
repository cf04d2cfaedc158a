#include "fare/benchmarks/pooled_metrics.h"

#include <algorithm>
#include <cmath>

#include "fare/core/error.h"

namespace fare {
namespace {

constexpr int64_t kReplicates = 2000;
constexpr double kConfidence = 0.95;

bool names(const MetricInfo& info, const MetricValue& value) {
  return info.pooled && info.name == value.name && info.filter == value.filter;
}

}  // namespace

stats::UnitTable pooled_rows(const Task& task, std::span<const Document> documents,
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

std::vector<MetricValue> pooled_values(const Task& task, std::span<const Document> documents,
                                       std::span<const std::vector<RequestResult>> results) {
  if (!task.pooled || documents.empty()) return {};
  const stats::UnitTable table = pooled_rows(task, documents, results);
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

std::vector<OrderedJson> cluster_intervals(const stats::UnitTable& clusters, int64_t num_statistics,
                                           const stats::Statistics& statistics, const std::string& label) {
  std::vector<OrderedJson> entries(static_cast<size_t>(num_statistics), {{"clusters", clusters.num_units()},
                                                                         {"replicates", kReplicates},
                                                                         {"undefined_replicates", nullptr},
                                                                         {"confidence", kConfidence},
                                                                         {"low", nullptr},
                                                                         {"high", nullptr},
                                                                         {"method", nullptr},
                                                                         {"sd", nullptr}});
  if (clusters.num_units() < 2) {
    for (OrderedJson& entry : entries) entry["reason"] = "fewer than 2 clusters";
    return entries;
  }
  const auto distributions =
      stats::bootstrap(clusters, num_statistics, statistics, {.label = label, .replicates = kReplicates});
  for (size_t i = 0; i < entries.size(); ++i) {
    OrderedJson& entry = entries[i];
    entry["undefined_replicates"] = distributions[i].num_undefined;
    if (const auto interval = distributions[i].interval(stats::IntervalKind::kBca, kConfidence)) {
      entry["low"] = interval->interval.low;
      entry["high"] = interval->interval.high;
      entry["method"] = stats::interval_name(interval->method);
      if (const auto sd = distributions[i].replicate_sd()) entry["sd"] = *sd;
    } else {
      entry["reason"] = interval.reason;
    }
  }
  return entries;
}

namespace {

OrderedJson errors_of(Profile profile, const Task& task, const TaskInfo& info, std::span<const Document> documents,
                      std::span<const std::vector<RequestResult>> results) {
  OrderedJson errors = OrderedJson::object();
  if (!task.pooled || documents.empty()) return errors;
  const stats::UnitTable table = pooled_rows(task, documents, results);
  std::vector<size_t> places;  // of the wanted metrics among the pooled values
  std::vector<std::string> wanted;
  const auto values = pooled_values(task, documents, results);
  for (const MetricInfo& metric : info.metrics)
    for (size_t i = 0; i < values.size(); ++i)
      if (metric.profile == profile && names(metric, values[i])) places.push_back(i), wanted.push_back(metric.name);
  if (places.empty()) return errors;
  const auto statistics = [&](std::span<const double> totals, std::span<std::optional<double>> out) {
    const auto replicate = task.pooled->metrics(totals);
    for (size_t i = 0; i < places.size(); ++i) {
      const auto& value = replicate[places[i]].value;
      if (value && std::isfinite(*value)) out[i] = value;
    }
  };
  auto entries =
      cluster_intervals(table, static_cast<int64_t>(places.size()), statistics, "bootstrap/cluster/" + info.name);
  for (size_t i = 0; i < places.size(); ++i) errors[wanted[i]] = std::move(entries[i]);
  return errors;
}

}  // namespace

OrderedJson pooled_errors(const Task& task, const TaskInfo& info, std::span<const Document> documents,
                          std::span<const std::vector<RequestResult>> compat,
                          std::span<const std::vector<RequestResult>> fair) {
  OrderedJson errors = errors_of(Profile::kCompat, task, info, documents, compat);
  errors.update(errors_of(Profile::kFair, task, info, documents, fair));
  return errors;
}

}  // namespace fare
