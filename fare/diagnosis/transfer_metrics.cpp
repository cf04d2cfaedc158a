#include "fare/diagnosis/transfer_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/core/error.h"
#include "fare/stats/clusters.h"
#include "fare/stats/comparison.h"
#include "fare/stats/moments.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/power.h"
#include "fare/stats/swap_test.h"

namespace fare {
namespace {

// With fewer changed clusters than this a bootstrap interval is not to be trusted (methods F1).
constexpr int64_t kFewChangedClusters = 10;

// Groups of all axes, numbered; an axis of one group has no range.
struct GroupIndex {
  std::vector<int32_t> of_prompt;
  std::vector<std::vector<int32_t>> axes;  // group numbers per axis, axes with two groups or more
  int32_t num_groups = 0;

  GroupIndex(const std::vector<std::string>& axis_names, const std::vector<std::string>& group_names) {
    std::map<std::string, std::map<std::string, int32_t>> number;
    for (size_t i = 0; i < axis_names.size(); ++i) {
      auto& groups = number[axis_names[i]];
      const auto [found, inserted] = groups.emplace(group_names[i], num_groups);
      num_groups += inserted;
      of_prompt.push_back(found->second);
    }
    for (const auto& [axis, groups] : number) {
      if (groups.size() < 2) continue;
      axes.emplace_back();
      for (const auto& [name, index] : groups) axes.back().push_back(index);
    }
  }

  // Of `sum(group)` and `count(group)`; groups that are empty in this sample are left out, and axes left with one.
  template <typename Sum, typename Count>
  std::optional<double> range(const Sum& sum, const Count& count) const {
    double total = 0;
    int64_t used = 0;
    for (const auto& axis : axes) {
      double low = INFINITY, high = -INFINITY;
      int64_t seen = 0;
      for (const int32_t g : axis) {
        if (!(count(g) > 0)) continue;
        const double mean = sum(g) / count(g);
        low = std::min(low, mean);
        high = std::max(high, mean);
        ++seen;
      }
      if (seen < 2) continue;
      total += high - low;
      ++used;
    }
    return used > 0 ? std::optional(total / static_cast<double>(used)) : std::nullopt;
  }
};

std::string stream_label(const std::string& kind, const std::string& label) { return kind + "/" + label; }

// The change of a range: clusters are drawn for the intervals; for p both arms are swapped cluster by cluster, as F2
// flips signs where the metric is a mean.
void measure_range_change(const MetricValues& values, double alpha, const DiagnosisOptions& options,
                          const std::string& label, MetricChange& change) {
  const GroupIndex index(values.axes, values.groups);
  const stats::Clusters clusters = stats::cluster_by_name(values.clusters);
  const size_t half = 2 * static_cast<size_t>(index.num_groups), width = 2 * half;
  stats::UnitTable table;  // per group sum and count, of the base and then of the edited model
  table.num_columns = static_cast<int64_t>(width);
  table.cells.assign(static_cast<size_t>(clusters.num_clusters) * width, 0.0);
  for (size_t i = 0; i < values.base.size(); ++i) {
    double* row =
        &table.cells[static_cast<size_t>(clusters.of_item[i]) * width + 2 * static_cast<size_t>(index.of_prompt[i])];
    row[0] += values.base[i];
    row[half] += values.edited[i];
    row[1] += 1;
    row[half + 1] += 1;
  }
  const auto range_of = [&](std::span<const double> totals) {
    return index.range([&](int32_t g) { return totals[2 * static_cast<size_t>(g)]; },
                       [&](int32_t g) { return totals[2 * static_cast<size_t>(g) + 1]; });
  };
  const auto gap = [&](std::span<const double> totals, std::span<std::optional<double>> out) {
    const auto before = range_of(totals.first(half)), after = range_of(totals.last(half));
    if (before && after) out[0] = *before - *after;
  };
  stats::ResampleOptions resample;
  resample.seed = options.seed;
  resample.label = stream_label("bootstrap/cluster", label);
  resample.replicates = options.bootstrap_replicates;
  resample.num_threads = options.num_threads;
  const auto drawn = stats::bootstrap(table, 1, gap, resample);
  const stats::Distribution& distribution = drawn.front();
  change.value = distribution.estimate.value();
  const auto wide = distribution.interval(options.interval, 0.95),
             narrow = distribution.interval(options.interval, 1 - 2 * alpha);
  // Where hardly a cluster changed, resampling says little about those that would: then only the range of the metric
  // bounds its change, which is not equivalence.
  int64_t changed = 0;
  for (int64_t c = 0; c < clusters.num_clusters; ++c) {
    const double* row = &table.cells[static_cast<size_t>(c) * width];
    bool differs = false;
    for (size_t k = 0; k < half; k += 2) differs |= row[k] != row[half + k];
    changed += differs;
  }
  const bool few = changed < kFewChangedClusters || !wide || !narrow;
  change.interval95 = few ? stats::Interval{-values.largest, values.largest} : wide->interval;
  change.interval90 = few ? stats::Interval{-values.largest, values.largest} : narrow->interval;
  change.method = few ? "range of the metric: fewer than 10 clusters changed" : wide->name();
  const auto se = distribution.replicate_sd();
  change.n_eff = static_cast<double>(clusters.num_clusters);
  if (se && *se > 0) change.mde = *stats::minimum_detectable_effect(*se, 1);
  else change.mde_reason = "the gap does not vary";

  resample.label = stream_label("permutation/swap", label);
  resample.replicates = options.permutations;
  change.p = stats::swap_tests(table, 1, gap, resample).front().p.value();
  change.base = *mean_range(values.axes, values.groups, values.base);
  change.edited = *mean_range(values.axes, values.groups, values.edited);
}

}  // namespace

std::optional<double> mean_range(const std::vector<std::string>& axes, const std::vector<std::string>& groups,
                                 const std::vector<double>& values) {
  const GroupIndex index(axes, groups);
  std::vector<double> sum(static_cast<size_t>(index.num_groups)), count(sum.size());
  for (size_t i = 0; i < values.size(); ++i) {
    sum[static_cast<size_t>(index.of_prompt[i])] += values[i];
    count[static_cast<size_t>(index.of_prompt[i])] += 1;
  }
  return index.range([&](int32_t g) { return sum[static_cast<size_t>(g)]; },
                     [&](int32_t g) { return count[static_cast<size_t>(g)]; });
}

MetricChange measure_change(const MetricValues& values, double limit, double alpha, const DiagnosisOptions& options,
                            const std::string& label) {
  if (values.base.empty()) throw NumericError(values.metric + ": there is no prompt to measure it on");
  MetricChange change;
  change.metric = values.metric;
  change.title = values.title;
  change.families = values.families;
  change.unit = values.unit;
  change.prompts = static_cast<int64_t>(values.base.size());
  change.samples = values.samples;
  change.limit = limit;
  std::vector<double> d;
  for (size_t i = 0; i < values.base.size(); ++i) d.push_back(values.sign[i] * (values.base[i] - values.edited[i]));
  const stats::Clusters clusters = stats::cluster_by_name(values.clusters);
  change.clusters = clusters.num_clusters;
  if (const auto sd = stats::sample_sd(d)) change.sd = *sd;
  if (const auto sd = stats::sample_sd(values.base)) change.base_sd = *sd;

  if (!values.groups.empty()) {
    measure_range_change(values, alpha, options, label, change);
  } else {
    stats::ComparisonOptions comparison;
    comparison.seed = options.seed;
    comparison.metric = label;
    comparison.replicates = options.bootstrap_replicates;
    comparison.draws = options.permutations;
    comparison.largest = values.largest;
    comparison.interval = options.interval;
    comparison.num_threads = options.num_threads;
    const auto compared = stats::compare_paired(d, clusters, comparison);
    const stats::Comparison& c = compared.value();
    change.value = c.estimate;
    change.base = stats::mean(values.base).value();
    change.edited = stats::mean(values.edited).value();
    change.method = c.interval_method;
    // Where nothing varies and no bound is near, the differences say nothing beyond the range of the metric.
    const auto or_range = [&](const stats::Outcome<stats::Interval>& interval) {
      return interval ? *interval : stats::Interval{-values.largest, values.largest};
    };
    change.interval95 = or_range(c.interval(0.95));
    change.interval90 = or_range(c.interval(1 - 2 * alpha));
    change.p = c.test.p;
    change.n_eff = c.num_effective;
    const auto mde = c.detectable_effect();
    if (mde) change.mde = *mde;
    else change.mde_reason = mde.reason;
    if (change.sd > 0) change.needed = stats::items_needed(change.sd, limit);
  }
  change.equivalent = change.interval90.low > -limit && change.interval90.high < limit;
  if (!values.greedy_base.empty()) {
    MetricChange::Greedy greedy;
    int64_t fewer = 0, more = 0;
    for (size_t i = 0; i < values.greedy_base.size(); ++i) {
      greedy.base += values.greedy_base[i];
      greedy.edited += values.greedy_edited[i];
      fewer += values.greedy_base[i] > values.greedy_edited[i];
      more += values.greedy_base[i] < values.greedy_edited[i];
    }
    greedy.base /= static_cast<double>(values.greedy_base.size());
    greedy.edited /= static_cast<double>(values.greedy_base.size());
    greedy.test = stats::mcnemar(fewer, more);
    change.greedy = greedy;
  }
  return change;
}

void settle_family(std::vector<MetricChange>& metrics) {
  std::vector<std::optional<double>> p;
  for (const MetricChange& metric : metrics) p.push_back(metric.p);
  const auto adjusted = stats::benjamini_hochberg(p);
  for (size_t i = 0; i < metrics.size(); ++i) {
    metrics[i].p_bh = *adjusted[i];
    metrics[i].family_size = static_cast<int64_t>(metrics.size());
  }
}

}  // namespace fare
