// The few kinds of draws a world needs, all from addressed streams.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fare {

// Quantile of the standard normal distribution, p in (0, 1), to 1e-12.
double normal_quantile(double p);

// Distribution function of the standard normal distribution.
double normal_cdf(double x);

// A random order of 0 .. n - 1 (Fisher-Yates over the stream (seed, label)).
std::vector<int64_t> random_order(uint64_t seed, std::string_view label, int64_t n);

// The n mid-quantiles of a normal distribution with mean 0 and that deviation, ascending: exactly antisymmetric.
std::vector<double> normal_quantiles(int64_t n, double deviation);

}  // namespace fare
