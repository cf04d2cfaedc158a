// Standardised effects: how large a difference is, beside how certain it is.
#pragma once

#include <span>

#include "fare/stats/bootstrap.h"
#include "fare/stats/clusters.h"
#include "fare/stats/outcome.h"

namespace fare::stats {

// Paired d_z = mean / SD of the differences. SD 0: 0 when the mean is 0 too, else undefined ("no variance"). Undefined
// for fewer than 2 differences. Depends on the correlation of the two sides: do not compare it across benchmarks.
Outcome<double> paired_dz(std::span<const double> d);
double hedges_factor(double n);  // 1 - 3 / (4 (n - 1) - 1), multiplies d_z of n differences; n >= 3 else UsageError
// Its cluster-bootstrap distribution; replicates follow the same rule for SD 0.
Distribution bootstrap_dz(std::span<const double> d, const Clusters& clusters, const ResampleOptions& options);

double cohens_h(double p1, double p2);  // 2 asin sqrt p1 - 2 asin sqrt p2

// (#{a > b} - #{a < b}) / (n_a n_b) over all cross pairs. Undefined when a side is empty.
Outcome<double> cliffs_delta(std::span<const double> a, std::span<const double> b);

// Mean(a) / mean(b), e.g. demographic over null divergence. 0/0 and x/0 are undefined, with the reason.
Outcome<double> ratio_of_means(std::span<const double> a, std::span<const double> b);

}  // namespace fare::stats
