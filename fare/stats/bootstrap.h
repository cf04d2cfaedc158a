// The bootstrap: units (items, or whole clusters) are drawn with replacement, a statistic of their column totals is
// computed in each replicate. One resample serves any number of columns and statistics, so that base and intervention,
// axes and metrics always see the same draws. Replicate r reads only its own random stream: results have the same bytes
// for every thread count. Percentile, basic and BCa intervals (Efron 1987).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/stats/clusters.h"
#include "fare/stats/outcome.h"

namespace fare::stats {

// What is resampled: one row per unit, holding the unit's sum of every column.
struct UnitTable {
  int64_t num_columns = 0;
  std::vector<double> cells;     // Unit u, column k at u * num_columns + k.
  std::vector<int32_t> stratum;  // Stratum of each unit; empty = one stratum. Units are drawn within their stratum.
  int64_t num_strata = 1;

  int64_t num_units() const { return num_columns == 0 ? 0 : static_cast<int64_t>(cells.size()) / num_columns; }
  // Sum of column k over the units of stratum s stands at totals[s * num_columns + k].
  int64_t num_totals() const { return num_strata * num_columns; }
};

// Clusters as units: each column (one value per item) is summed within clusters; a last column counts the items.
UnitTable cluster_table(const std::vector<std::span<const double>>& columns, const Clusters& clusters);
// Items as units, with the same columns.
UnitTable item_table(const std::vector<std::span<const double>>& columns);

// Computes every statistic from the totals of a resample; an entry left empty is undefined in this replicate (a group
// that was not drawn, 0/0). Called from several threads at once: it must not write anything but `values`.
using Statistics = std::function<void(std::span<const double> totals, std::span<std::optional<double>> values)>;

struct ResampleOptions {
  uint64_t seed = 0;
  std::string label = "bootstrap/cluster";  // What the draws are for; a second analysis appends "/" and its metric.
  int64_t replicates = 10000;
  int num_threads = 1;
};

struct BcaInterval {
  double p0 = 0;      // Share of replicates below the estimate, ties (within 1e-12) counted half.
  double z0 = 0;      // Bias correction.
  double a = 0;       // Acceleration, from the leave-one-unit-out values.
  double alpha1 = 0;  // Levels at which the replicates' quantiles are taken.
  double alpha2 = 0;
  Interval interval;
};

struct LabelledInterval {
  Interval interval;
  IntervalKind method = IntervalKind::kPercentile;
  std::string note;  // Why the percentile interval stands in for BCa; empty otherwise.

  std::string name() const {
    return std::string("cluster bootstrap, ") + (method == IntervalKind::kBca ? "BCa" : "percentile");
  }
};

// The bootstrap distribution of one statistic.
struct Distribution {
  Outcome<double> estimate = Outcome<double>::undefined("not computed");  // On the data as they are.
  std::vector<double> replicates;                                         // Defined ones, in replicate order.
  std::vector<double> sorted;                                             // The same, ascending.
  int64_t num_undefined = 0;          // Replicates without a value: dropped and counted.
  std::vector<double> leave_one_out;  // The statistic without unit 0, 1, .. (undefined ones left out).

  Outcome<double> replicate_mean() const;
  Outcome<double> replicate_sd() const;
  // Quantile of the replicates. This and the intervals below are undefined when the estimate is, when more than 1% of
  // the replicates are undefined, or when none is left.
  Outcome<double> quantile(double p) const;
  Outcome<Interval> percentile(double confidence) const;
  Outcome<Interval> basic(double confidence) const;
  // Undefined when all or none of the replicates lie below the estimate, the replicates do not vary, or the corrected
  // levels have no finite value; the reason says which.
  Outcome<BcaInterval> bca(double confidence) const;
  // By `kind`; the percentile interval stands in where BCa is undefined, and the note says why.
  Outcome<LabelledInterval> interval(IntervalKind kind, double confidence) const;
};

// Runs `num_statistics` statistics over the same resamples. Sums run left to right in draw order in binary64. Strata
// use substream = stratum index. Throws UsageError on an empty or ragged table or fewer than 1 replicate; NumericError
// on NaN or Inf in the table or from a statistic.
std::vector<Distribution> bootstrap(const UnitTable& table, int64_t num_statistics, const Statistics& statistics,
                                    const ResampleOptions& options);

// One term of a weighted sum of ratios: factor * weight * (total of one column / total of another).
struct RatioTerm {
  int64_t numerator = 0;    // Index into the totals.
  int64_t denominator = 0;  // Index into the totals; usually a count.
  double factor = 1;        // For example 100 * sigma_a.
  std::optional<double>
      weight;  // Fixed weight; empty = the denominator's share of all denominators, in each replicate.
};
// sum of the terms; with shares as weights a term whose denominator is 0 weighs 0, with a fixed weight it makes the sum
// undefined. Empty `terms`, or all denominators 0: undefined. Example: Delta_B = sum_a w_a sigma_a (pct_base -
// pct_int).
std::optional<double> weighted_ratio_sum(std::span<const double> totals, std::span<const RatioTerm> terms);

// Mean of `d` over items drawn one by one (label "bootstrap/paired").
Distribution bootstrap_mean(std::span<const double> d, const ResampleOptions& options);

// Mean over items when whole clusters are drawn: sum of sums / sum of sizes (label "bootstrap/cluster").
Distribution bootstrap_cluster_mean(std::span<const double> d, const Clusters& clusters,
                                    const ResampleOptions& options);
// Of several columns over the same draws.
std::vector<Distribution> bootstrap_cluster_means(const std::vector<std::span<const double>>& columns,
                                                  const Clusters& clusters, const ResampleOptions& options);

struct StratifiedBootstrap {
  std::vector<std::string> strata;  // Names in byte order; the index is the substream.
  Distribution micro;               // Items pooled.
  Distribution macro;               // Plain mean of the strata's means.
};
// Items drawn within their stratum, for categories whose sizes are fixed by design (label "bootstrap/stratified").
StratifiedBootstrap bootstrap_stratified(std::span<const double> d, std::span<const std::string> stratum_of_item,
                                         const ResampleOptions& options);

// Clusters are drawn, then items inside each drawn cluster (substream 1 + its position): only where the items of a
// cluster are themselves a random sample, such as generation seeds. Mean over items.
Distribution bootstrap_two_stage(const std::vector<std::vector<double>>& samples, const ResampleOptions& options);

}  // namespace fare::stats
