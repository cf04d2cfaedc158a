// One row of a table: a paired comparison of an intervention with its baseline, with everything that belongs beside the
// estimate (interval, p, effect size, n, clusters, what changed, what could have been seen). Methods F1-F3, F5, F6, F8.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/stats/bootstrap.h"
#include "fare/stats/clusters.h"
#include "fare/stats/mcnemar.h"
#include "fare/stats/outcome.h"
#include "fare/stats/permutation.h"
#include "fare/stats/power.h"

namespace fare::stats {

struct ComparisonOptions {
  uint64_t seed = 0;
  std::string metric;  // Appended to the labels of the random streams ("bootstrap/cluster/" + metric); may be empty.
  int64_t replicates = 10000;
  int64_t draws = 10000;
  Alternative alternative = Alternative::kTwoSided;  // Of the sign-flip p.
  double largest = 1;  // Largest possible |difference| of an item: 1 for shares, 100 for points. Exact bounds need it;
                       // infinity: there is no known bound.
  IntervalKind interval = IntervalKind::kPercentile;
  PowerLevels levels;
  int num_threads = 1;
};

// Exact bounds see the mean of bounded cluster means as a sum of layers: the k-th adds `height` times the difference of
// the shares of clusters whose mean reaches up (or down) into it. All-or-nothing clusters make one layer.
struct ExactLayer {
  double height = 0;
  int64_t up = 0, down = 0;  // Clusters.
};

struct Comparison {
  int64_t num_items = 0;
  int64_t num_clusters = 0;
  double estimate = 0;  // Mean difference over items.
  SignFlip test;        // On cluster sums; decides.

  int64_t increased = 0;  // Items with a positive difference.
  int64_t decreased = 0;
  int64_t increased_clusters = 0;  // Clusters with a positive sum.
  int64_t decreased_clusters = 0;

  // Yes/no outcomes only (every difference is 0 or +-largest): exact McNemar beside the test, and p_d = (b + c) / n.
  std::optional<McNemar> mcnemar;
  Outcome<double> discordance = Outcome<double>::undefined("the outcome is not yes or no");

  Outcome<double> icc = Outcome<double>::undefined("not computed");
  double num_effective = 0;  // Items after the design effect (clusters.h).
  Outcome<double> sd = Outcome<double>::undefined("fewer than 2 items");
  Outcome<double> dz = Outcome<double>::undefined("fewer than 2 items");
  Outcome<double> mde = Outcome<double>::undefined("not computed");
  Outcome<double> equivalence_margin = Outcome<double>::undefined("not computed");  // Smallest that could be shown.

  Distribution bootstrap;
  IntervalKind interval_kind = IntervalKind::kPercentile;  // Asked for.
  std::vector<ExactLayer> layers;                          // Where `exact`.
  bool exact = false;  // Fewer than 10 clusters changed, or nothing varies: exact bounds stand in for the bootstrap.
  std::string
      interval_method;  // "cluster bootstrap, percentile", the same with "BCa", or "exact bounds of paired differences"
  double largest = 1;

  // Two-sided interval at `confidence`: 0.95, or 0.90 whose ends are the one-sided 95% bounds. Undefined with the
  // reason where neither form applies (no variance and differences larger than `largest`).
  Outcome<Interval> interval(double confidence) const;

  // `mde`, or where nothing changed, whose discordance is not 0 but unknown, the effect that could have been seen at
  // the exact 95% upper bound of the discordance over clusters: so that a null still says how blind it is.
  Outcome<double> detectable_effect() const;
};

// `d`: intervention minus baseline (or signed as the question asks), one per item. Undefined for no items. Throws
// UsageError on unequal lengths, NumericError on NaN or Inf.
Outcome<Comparison> compare_paired(std::span<const double> d, const Clusters& clusters,
                                   const ComparisonOptions& options);
// Several differences of the same items over the same draws of clusters; those after the first are not tested (p stays
// 1).
std::vector<Outcome<Comparison>> compare_columns(const std::vector<std::span<const double>>& columns,
                                                 const Clusters& clusters, const ComparisonOptions& options);

}  // namespace fare::stats
