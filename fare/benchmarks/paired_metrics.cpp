#include "fare/benchmarks/paired_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/benchmarks/pooled_metrics.h"
#include "fare/benchmarks/registry.h"
#include "fare/core/error.h"
#include "fare/stats/comparison.h"
#include "fare/stats/distributions.h"
#include "fare/stats/moments.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/swap_test.h"

namespace fare {
namespace {

constexpr double kConfidence = 0.95, kEquivalence = 0.90;  // two one-sided tests at 5%
constexpr int64_t kFewClusters = 20;                       // below, no bootstrap (statistics page, rule 2)
constexpr int64_t kFewChangedClusters = 10;                // below, no interval of a pooled metric
constexpr int64_t kPooledDraws = 2000;

using Interval = stats::Outcome<stats::Interval>;

// An entry with every field, in order, nothing known yet.
OrderedJson empty_entry(const std::string& task, const MetricInfo& info) {
  OrderedJson entry{{"task", task},
                    {"metric", info.name},
                    {"filter", info.filter},
                    {"profile", info.profile == Profile::kFair ? "fair" : "compat"}};
  for (const char* field : {"baseline", "value", "estimate", "ci", "method", "p", "p_adjusted", "family", "effect", "n",
                            "clusters", "discordant", "mde", "equivalence"})
    entry[field] = nullptr;
  return entry;
}

void put(OrderedJson& entry, const char* field, const stats::Outcome<double>& number) {
  if (number) entry[field] = *number;
  else entry[std::string(field) + "_reason"] = number.reason;
}

void put_intervals(OrderedJson& entry, const Interval& wide, const Interval& narrow, const std::string& method) {
  if (!wide || !narrow) {
    entry["ci_reason"] = wide ? narrow.reason : wide.reason;
    return;
  }
  entry["ci"] = {wide->low, wide->high};
  entry["method"] = method;
  entry["equivalence"] = {{"low", narrow->low},
                          {"high", narrow->high},
                          {"margin", std::max(std::abs(narrow->low), std::abs(narrow->high))}};
}

Interval t_interval(double centre, double error, int64_t df, double confidence) {
  const double half = stats::student_t_quantile(0.5 + confidence / 2, static_cast<double>(df)) * error;
  return stats::Interval{centre - half, centre + half};
}

// Values of one metric in both runs, of the documents that have one in both.
struct PairedValues {
  std::vector<double> baseline, run;
  std::vector<std::string> clusters;

  // Seen from the values: nothing but 0, 1 and ties, and not 0 throughout, which any metric may be.
  bool yes_or_no() const {
    const auto allowed = [](double value) { return value == 0 || value == 0.5 || value == 1; };
    const auto positive = [](double value) { return value > 0; };
    return std::ranges::all_of(baseline, allowed) && std::ranges::all_of(run, allowed) &&
           (std::ranges::any_of(baseline, positive) || std::ranges::any_of(run, positive));
  }
};

const MetricValue* find_value(const SampleMetrics& sample, const std::string& name, const std::string& filter) {
  for (const MetricValue& value : sample)
    if (value.name == name && value.filter == filter && value.value && std::isfinite(*value.value)) return &value;
  return nullptr;
}

void collect(const PairedTask& task, const std::string& name, const std::string& filter,
             const std::string& cluster_prefix, bool one_cluster, PairedValues& values) {
  for (size_t d = 0; d < task.documents.size(); ++d) {
    const MetricValue* before = find_value(task.baseline.samples[d], name, filter);
    const MetricValue* after = find_value(task.run.samples[d], name, filter);
    if (before == nullptr || after == nullptr) continue;
    values.baseline.push_back(*before->value);
    values.run.push_back(*after->value);
    values.clusters.push_back(one_cluster ? cluster_prefix : cluster_prefix + task.documents[d].cluster);
  }
}

void compare_values(const PairedValues& values, const std::string& label, const PairedOptions& options,
                    OrderedJson& entry) {
  if (values.baseline.empty()) {
    entry["estimate_reason"] = "no document has a value in both runs";
    return;
  }
  std::vector<double> d;
  for (size_t i = 0; i < values.baseline.size(); ++i) d.push_back(values.run[i] - values.baseline[i]);
  stats::ComparisonOptions comparison;
  comparison.seed = options.seed;
  comparison.metric = label;
  comparison.largest = values.yes_or_no() ? 1 : INFINITY;
  comparison.interval = stats::IntervalKind::kBca;
  comparison.num_threads = options.num_threads;
  const stats::Clusters clusters = stats::cluster_by_name(values.clusters);
  const stats::Comparison c = stats::compare_paired(d, clusters, comparison).value();
  entry["baseline"] = *stats::mean(values.baseline);
  entry["value"] = *stats::mean(values.run);
  entry["estimate"] = c.estimate;
  const auto error = stats::clustered_error(d, clusters);
  if (c.exact || clusters.num_clusters >= kFewClusters)
    put_intervals(entry, c.interval(kConfidence), c.interval(kEquivalence), c.interval_method);
  else if (!error) entry["ci_reason"] = error.reason;
  else if (error->se_cr1 == 0) entry["ci_reason"] = "the differences do not vary and have no known bound";
  else
    put_intervals(entry, t_interval(c.estimate, error->se_cr1, error->df, kConfidence),
                  t_interval(c.estimate, error->se_cr1, error->df, kEquivalence),
                  fmt::format("t over {} clusters", clusters.num_clusters));
  entry["p"] = c.test.p;
  if (c.dz) entry["effect"] = {{"dz", *c.dz}};
  else entry["effect_reason"] = c.dz.reason;
  entry["n"] = c.num_items;
  entry["clusters"] = c.num_clusters;
  entry["discordant"] = {{"increased", c.increased}, {"decreased", c.decreased}};
  put(entry, "mde", c.detectable_effect());
}

// Of each cluster what it contributes to the baseline, then to the run.
stats::UnitTable both_arms(const PairedTask& task, bool fair) {
  const stats::UnitTable first =
      pooled_rows(*task.task, task.documents, fair ? task.baseline.fair : task.baseline.compat);
  const stats::UnitTable second = pooled_rows(*task.task, task.documents, fair ? task.run.fair : task.run.compat);
  stats::UnitTable arms;
  arms.num_columns = 2 * first.num_columns;
  const auto half = static_cast<size_t>(first.num_columns);
  for (size_t u = 0; u < first.cells.size(); u += half) {
    arms.cells.insert(arms.cells.end(), first.cells.begin() + static_cast<std::ptrdiff_t>(u),
                      first.cells.begin() + static_cast<std::ptrdiff_t>(u + half));
    arms.cells.insert(arms.cells.end(), second.cells.begin() + static_cast<std::ptrdiff_t>(u),
                      second.cells.begin() + static_cast<std::ptrdiff_t>(u + half));
  }
  return arms;
}

int64_t changed_clusters(const stats::UnitTable& arms) {
  const auto width = static_cast<size_t>(arms.num_columns), half = width / 2;
  int64_t changed = 0;
  for (size_t at = 0; at < arms.cells.size(); at += width)
    changed += !std::equal(arms.cells.begin() + static_cast<std::ptrdiff_t>(at),
                           arms.cells.begin() + static_cast<std::ptrdiff_t>(at + half),
                           arms.cells.begin() + static_cast<std::ptrdiff_t>(at + half));
  return changed;
}

Interval jackknife(const stats::Distribution& distribution, int64_t clusters, double confidence) {
  const std::vector<double>& values = distribution.leave_one_out;
  if (static_cast<int64_t>(values.size()) < clusters || clusters < 2)
    return Interval::undefined("undefined without some cluster");
  const double centre = *stats::mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  const double count = static_cast<double>(clusters);
  return t_interval(*distribution.estimate, std::sqrt((count - 1) / count * squares), clusters - 1, confidence);
}

// The pooled metrics `entries` asks for; those of one profile share their draws.
void compare_pooled(const PairedTask& task, bool fair, const PairedOptions& options,
                    std::vector<OrderedJson>& entries) {
  if (!task.task->pooled) return;
  std::vector<OrderedJson*> wanted;
  for (OrderedJson& entry : entries)
    if (entry.at("pooled").get<bool>() && (entry.at("profile") == "fair") == fair) wanted.push_back(&entry);
  if (wanted.empty()) return;
  const stats::UnitTable arms = both_arms(task, fair);
  const int64_t clusters = arms.num_units(), changed = changed_clusters(arms);
  const auto half = static_cast<size_t>(arms.num_columns) / 2;
  const auto value_of = [](const std::vector<MetricValue>& values, const OrderedJson& entry) -> std::optional<double> {
    for (const MetricValue& value : values)
      if (entry.at("metric") == value.name && entry.at("filter") == value.filter && value.value &&
          std::isfinite(*value.value))
        return value.value;
    return std::nullopt;
  };
  const auto both = [&](std::span<const double> totals) {
    return std::pair{task.task->pooled->metrics(totals.first(half)), task.task->pooled->metrics(totals.last(half))};
  };
  const auto differences = [&](std::span<const double> totals, std::span<std::optional<double>> out) {
    const auto [before, after] = both(totals);
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto first = value_of(before, *wanted[i]), second = value_of(after, *wanted[i]);
      if (first && second) out[i] = *second - *first;
    }
  };
  std::vector<double> totals(2 * half, 0.0);
  for (size_t i = 0; i < arms.cells.size(); ++i) totals[i % totals.size()] += arms.cells[i];
  const auto [before, after] = both(totals);
  const std::string label = task.info->name + (fair ? "/fair" : "/compat");
  const auto count = static_cast<int64_t>(wanted.size());
  const auto drawn = stats::bootstrap(
      arms, count, differences, {options.seed, "bootstrap/cluster/change/" + label, kPooledDraws, options.num_threads});
  const auto swapped = stats::swap_tests(
      arms, count, differences, {options.seed, "permutation/swap/" + label, kPooledDraws, options.num_threads});
  for (size_t i = 0; i < wanted.size(); ++i) {
    OrderedJson& entry = *wanted[i];
    entry["n"] = task.documents.size();
    entry["clusters"] = clusters;
    entry["effect_reason"] = "the metric is no mean over documents";
    entry["discordant"] = {{"clusters", changed}};
    const auto first = value_of(before, entry), second = value_of(after, entry);
    if (first) entry["baseline"] = *first;
    if (second) entry["value"] = *second;
    if (!first || !second) {
      entry["estimate_reason"] = "the metric is undefined in one of the runs";
      continue;
    }
    entry["estimate"] = *second - *first;
    put(entry, "p", swapped[i].p);
    if (changed < kFewChangedClusters) {
      entry["ci_reason"] = fmt::format("only {} of {} clusters changed", changed, clusters);
    } else if (clusters < kFewClusters) {
      put_intervals(entry, jackknife(drawn[i], clusters, kConfidence), jackknife(drawn[i], clusters, kEquivalence),
                    fmt::format("jackknife, t over {} clusters", clusters));
    } else {
      const auto wide = drawn[i].interval(stats::IntervalKind::kBca, kConfidence),
                 narrow = drawn[i].interval(stats::IntervalKind::kBca, kEquivalence);
      const auto plain = [](const auto& drawn_interval) {
        return drawn_interval ? Interval(drawn_interval->interval) : Interval::undefined(drawn_interval.reason);
      };
      put_intervals(entry, plain(wide), plain(narrow), wide ? wide->name() : "");
    }
    if (const auto sd = drawn[i].replicate_sd(); sd && *sd > 0)
      put(entry, "mde", stats::minimum_detectable_effect(*sd, 1));
    else entry["mde_reason"] = "the difference does not vary";
  }
}

}  // namespace

std::vector<OrderedJson> compare_runs(const PairedTask& task, const PairedOptions& options) {
  FARE_CHECK(task.baseline.samples.size() == task.documents.size() && task.run.samples.size() == task.documents.size(),
             "one list of metrics per document in both runs");
  std::vector<OrderedJson> entries;
  for (const MetricInfo& info : task.info->metrics) {
    entries.push_back(empty_entry(task.info->name, info));
    entries.back()["pooled"] = info.pooled;
    if (info.pooled) continue;
    PairedValues values;
    collect(task, info.name, info.filter, "", false, values);
    compare_values(values, fmt::format("{}/{}/{}", task.info->name, info.name, info.filter), options, entries.back());
  }
  for (const bool fair : {false, true}) compare_pooled(task, fair, options, entries);
  for (OrderedJson& entry : entries) entry.erase("pooled");
  return entries;
}

std::optional<OrderedJson> compare_group(const std::string& group, const std::string& metric,
                                         std::span<const PairedTask> tasks, const PairedOptions& options) {
  const bool by_task = tasks.size() >= static_cast<size_t>(kTasksAsClusters);
  PairedValues values;
  const MetricInfo* found = nullptr;
  for (const PairedTask& task : tasks)
    for (const MetricInfo& info : task.info->metrics) {
      if (info.name != metric || info.pooled) continue;
      found = &info;
      collect(task, info.name, info.filter, by_task ? task.info->name : task.info->name + "/", by_task, values);
    }
  if (found == nullptr) return std::nullopt;
  OrderedJson entry = empty_entry(group, *found);
  compare_values(values, fmt::format("{}/{}/{}", group, metric, found->filter), options, entry);
  return entry;
}

void adjust_family(std::vector<OrderedJson>& comparisons) {
  stats::PValues p;
  for (const OrderedJson& entry : comparisons)
    p.push_back(entry.at("p").is_null() ? std::nullopt : std::optional(entry.at("p").get<double>()));
  const stats::PValues adjusted = stats::benjamini_hochberg(p);
  const auto members = std::count_if(p.begin(), p.end(), [](const auto& one) { return one.has_value(); });
  for (size_t i = 0; i < comparisons.size(); ++i) {
    if (!adjusted[i]) continue;
    comparisons[i]["p_adjusted"] = *adjusted[i];
    comparisons[i]["family"] = fmt::format("all {} metrics of this run, Benjamini-Hochberg", members);
  }
}

}  // namespace fare
