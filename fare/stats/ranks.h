// Ranks with ties and Spearman's rank correlation with a cluster-bootstrap interval (methods F8).
#pragma once

#include <span>
#include <vector>

#include "fare/stats/bootstrap.h"
#include "fare/stats/clusters.h"
#include "fare/stats/outcome.h"

namespace fare::stats {

// Ranks from 1 (smallest); equal values share the mean of their ranks. Throws NumericError on NaN or Inf.
std::vector<double> average_ranks(std::span<const double> values);

// Pearson correlation of the ranks. Undefined for fewer than 2 pairs or when a side is constant.
Outcome<double> spearman(std::span<const double> x, std::span<const double> y);

// Rank correlation of x and y after taking off what the ranks of `given` explain (one column or more), by least
// squares. Undefined when nothing is left to correlate.
Outcome<double> partial_spearman(std::span<const double> x, std::span<const double> y,
                                 const std::vector<std::span<const double>>& given);

// Spearman's correlation with clusters of items drawn with replacement; ranks are taken anew in each replicate.
Distribution bootstrap_spearman(std::span<const double> x, std::span<const double> y, const Clusters& clusters,
                                const ResampleOptions& options);

}  // namespace fare::stats
