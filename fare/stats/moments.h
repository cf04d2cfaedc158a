// Mean, standard deviation, order statistics of one sample.
#pragma once

#include <span>
#include <vector>

#include "fare/stats/outcome.h"

namespace fare::stats {

double sum(std::span<const double> x);                 // Left to right; 0 for no values.
Outcome<double> mean(std::span<const double> x);       // Undefined for no values.
Outcome<double> sample_sd(std::span<const double> x);  // Divisor n - 1; undefined for n < 2.
Outcome<double> correlation(std::span<const double> x,
                            std::span<const double> y);  // Pearson; undefined if one is constant.

// Quantile of type 7 (linear between order statistics, h = (n-1)p) of `sorted`, which must be ascending and not empty;
// p in [0, 1]. Throws UsageError otherwise.
double quantile_sorted(std::span<const double> sorted, double p);
// The same for values in any order.
double quantile(std::vector<double> values, double p);

}  // namespace fare::stats
