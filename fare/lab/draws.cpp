#include "fare/lab/draws.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"

namespace fare {

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double normal_quantile(double p) {
  FARE_CHECK(p > 0 && p < 1, "a probability strictly between 0 and 1");
  if (p > 0.5) return -normal_quantile(1 - p);
  double low = -40, high = 0;
  for (int step = 0; step < 80; ++step) {
    const double middle = (low + high) / 2;
    (normal_cdf(middle) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

std::vector<int64_t> random_order(uint64_t seed, std::string_view label, int64_t n) {
  const RandomStream stream(seed, label);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)],
              order[stream.index(static_cast<uint64_t>(i), static_cast<uint64_t>(i) + 1)]);
  return order;
}

std::vector<double> normal_quantiles(int64_t n, double deviation) {
  std::vector<double> values(static_cast<size_t>(n), 0.0);
  for (int64_t j = 0; j < n / 2; ++j) {
    const double q = deviation * normal_quantile((static_cast<double>(j) + 0.5) / static_cast<double>(n));
    values[static_cast<size_t>(j)] = q;
    values[static_cast<size_t>(n - 1 - j)] = -q;
  }
  return values;
}

}  // namespace fare
