#include "fare/stats/moments.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/inputs.h"

namespace fare::stats {

double sum(std::span<const double> x) {
  double total = 0;
  for (const double value : x) total += value;
  return total;
}

Outcome<double> mean(std::span<const double> x) {
  if (x.empty()) return Outcome<double>::undefined("mean of no values");
  return sum(x) / static_cast<double>(x.size());
}

Outcome<double> sample_sd(std::span<const double> x) {
  if (x.size() < 2) return Outcome<double>::undefined("standard deviation of fewer than 2 values");
  const double centre = sum(x) / static_cast<double>(x.size());
  double squares = 0;
  for (const double value : x) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(x.size() - 1));
}

Outcome<double> correlation(std::span<const double> x, std::span<const double> y) {
  require_same_length(x.size(), "x", y.size(), "y");
  if (x.size() < 2) return Outcome<double>::undefined("correlation of fewer than 2 pairs");
  const double n = static_cast<double>(x.size());
  const double mx = sum(x) / n;
  const double my = sum(y) / n;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  const auto constant = [](std::span<const double> v) {
    return std::ranges::all_of(v, [&](double e) { return e == v[0]; });
  };
  if (constant(x) || constant(y) || xx == 0 || yy == 0) {
    return Outcome<double>::undefined("correlation with a constant");
  }
  return std::clamp(xy / std::sqrt(xx) / std::sqrt(yy), -1.0, 1.0);
}

double quantile_sorted(std::span<const double> sorted, double p) {
  if (sorted.empty()) throw UsageError("quantile of no values; give at least one");
  require_closed_unit(p, "quantile: probability");
  const double h = static_cast<double>(sorted.size() - 1) * p;
  const auto below = static_cast<size_t>(std::floor(h));
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (h - static_cast<double>(below)) * (sorted[below + 1] - sorted[below]);
}

double quantile(std::vector<double> values, double p) {
  require_finite(values, "quantile");
  std::ranges::sort(values);
  return quantile_sorted(values, p);
}

}  // namespace fare::stats
