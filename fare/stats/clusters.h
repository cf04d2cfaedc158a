// Clusters: the smallest independent units (a writer, a target term, a prompt). Sums per cluster, errors that respect
// them, the intra-class correlation and the number of independent items they are worth.
// Source: Miller 2024 ("Adding Error Bars to Evals") for CR0; one-way ANOVA for the intra-class correlation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fare/stats/outcome.h"

namespace fare::stats {

// Which cluster each item belongs to.
struct Clusters {
  std::vector<int32_t> of_item;    // Index of the item's cluster, in order of first appearance.
  std::vector<std::string> names;  // Name of each cluster; empty when the clusters have none.
  int64_t num_clusters = 0;

  int64_t num_items() const { return static_cast<int64_t>(of_item.size()); }
  std::vector<double> sizes() const;  // Items per cluster.
};

Clusters cluster_by_name(std::span<const std::string> name_of_item);
Clusters one_cluster_per_item(int64_t num_items);

// Sum of `values` (one per item) within each cluster, items in order.
std::vector<double> cluster_sums(std::span<const double> values, const Clusters& clusters);

struct AnovaTerms {
  double ms_between = 0;  // G - 1 degrees of freedom.
  Outcome<double> ms_within =
      Outcome<double>::undefined("not computed");  // n - G df; undefined when every cluster has one item.
  double n0 = 0;                                   // (n - sum n_c^2 / n) / (G - 1): the cluster size the ICC refers to.
  Outcome<double> icc =
      Outcome<double>::undefined("not computed");  // (MSB - MSW) / (MSB + (n0 - 1) MSW); may be negative.
};
// Undefined for fewer than 2 clusters.
Outcome<AnovaTerms> one_way_anova(std::span<const double> values, const Clusters& clusters);

struct ClusteredError {
  double mean = 0;
  int64_t num_items = 0;
  int64_t num_clusters = 0;
  double se_naive = 0;  // Items taken as independent.
  double se_cr0 = 0;    // sqrt(sum of squared cluster sums of residuals) / n.
  double se_cr1 = 0;    // CR0 * sqrt(G / (G - 1)); use with t on `df` degrees of freedom.
  int64_t df = 0;       // G - 1
  AnovaTerms anova;

  // CR1 over the naive error; undefined when the naive error is 0.
  Outcome<double> ratio() const;
};
// Undefined for fewer than 2 clusters. Throws UsageError on unequal lengths, NumericError on NaN or Inf.
Outcome<ClusteredError> clustered_error(std::span<const double> values, const Clusters& clusters);

// How many independent items n clustered ones are worth: n / (1 + (mbar - 1) ICC), mbar the mean cluster size (methods
// F5). A negative ICC counts as 0, so that clustering never adds items; where the ICC is undefined (no variance) the
// clusters themselves are counted, the least they can be worth.
double effective_items(const Clusters& clusters, const Outcome<double>& icc);

struct RatioEstimate {
  double ratio = 0;
  double se = 0;  // Delta method over clusters: sqrt(G/(G-1) sum (X_c - R Y_c)^2) / sum Y.
};
// Ratio of sums over clusters. Undefined when the denominators sum to 0 or there are fewer than 2 clusters.
Outcome<RatioEstimate> ratio_of_sums(std::span<const double> numerator_sums, std::span<const double> denominator_sums);

// P prompts with S samples each (several seeds): components of variance and both ways to average.
struct SeedAnalysis {
  double mean_of_means = 0;    // Prompts weigh equally; the fair profile's estimate.
  double ratio_of_sums = 0;    // Samples weigh equally.
  double se_cluster_mean = 0;  // SD of the prompt means / sqrt(P).
  AnovaTerms anova;
  Outcome<double> var_within = Outcome<double>::undefined("one sample per prompt");   // MSW
  Outcome<double> var_between = Outcome<double>::undefined("one sample per prompt");  // max(0, (MSB - MSW) / n0)
};
// `samples[p]`: the values of prompt p, at least one each (else UsageError). Undefined for fewer than 2 prompts.
Outcome<SeedAnalysis> analyse_seeds(const std::vector<std::vector<double>>& samples);

}  // namespace fare::stats
