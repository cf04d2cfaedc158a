// Intervals and exact tests for one proportion, and exact bounds for a paired difference that hardly ever changes.
#pragma once

#include <cstdint>

#include "fare/stats/outcome.h"

namespace fare::stats {

// k successes of n. The intervals are undefined for n = 0 and throw UsageError unless 0 <= k <= n.
Outcome<Interval> wilson_interval(int64_t k, int64_t n, double confidence);           // Wilson 1927
Outcome<Interval> clopper_pearson_interval(int64_t k, int64_t n, double confidence);  // two-sided, each tail half

// One-sided exact limits: the true share is at most (at least) this with the given confidence.
Outcome<double> clopper_pearson_upper(int64_t k, int64_t n, double confidence);
Outcome<double> clopper_pearson_lower(int64_t k, int64_t n, double confidence);

struct BinomialTest {
  double exact_p = 1;  // Two-sided: total probability of the outcomes that are not more likely than k.
  double mid_p = 1;    // The same with outcomes as likely as k counted half.
};
// Undefined for n = 0. `p0` in [0, 1].
Outcome<BinomialTest> binomial_test(int64_t k, int64_t n, double p0);

// Methods F1: bounds of mean paired difference (improved minus worsened share, in shares of the clusters) when fewer
// than 10 clusters changed or nothing varies and the percentile interval would be [0, 0] whatever n. Upper bound of a
// drop = Clopper-Pearson upper bound of the worsened share minus the lower bound of the improved share; mirrored for
// the other side.
struct PairedExactBounds {
  double lower = 0;  // improved lower - worsened upper
  double upper = 0;  // improved upper - worsened lower
};
// `confidence`: of each Clopper-Pearson limit, one-sided (0.95 bounds each side at 5%; use 0.975 for an interval at
// 95%). Undefined for no clusters. Throws UsageError if improved + worsened exceeds the clusters.
Outcome<PairedExactBounds> paired_exact_bounds(int64_t improved, int64_t worsened, int64_t num_clusters,
                                               double confidence);

// Least number of clusters at which no change at all still bounds a drop by `margin`: 299 at 1 pp and 95%.
int64_t clusters_for_zero_discordance(double margin, double confidence);

}  // namespace fare::stats
