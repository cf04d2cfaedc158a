#include "fare/stats/effect_size.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {
namespace {

// A variance below this share of the mean square is rounding.
constexpr double kNoVariance = 1e-24;

}  // namespace

Outcome<double> paired_dz(std::span<const double> d) {
  require_finite(d, "differences");
  if (d.size() < 2) return Outcome<double>::undefined("fewer than 2 differences");
  const double centre = *mean(d);
  const double sd = *sample_sd(d);
  if (sd * sd > kNoVariance * centre * centre) return centre / sd;
  if (centre == 0) return 0.0;
  return Outcome<double>::undefined("no variance");
}

double hedges_factor(double n) {
  if (!(n >= 3)) throw UsageError("Hedges factor: n is " + std::to_string(n) + "; accepted: 3 or more");
  return 1 - 3 / (4 * (n - 1) - 1);
}

Distribution bootstrap_dz(std::span<const double> d, const Clusters& clusters, const ResampleOptions& options) {
  require_finite(d, "differences");
  require_same_length(d.size(), "differences", clusters.of_item.size(), "clusters");
  // Squares of centred values: no digits are lost when the mean is large.
  const double centre = d.empty() ? 0 : *mean(d);
  std::vector<double> gap(d.begin(), d.end());
  for (double& value : gap) value -= centre;
  std::vector<double> square = gap;
  double all_squares = 0;
  for (double& value : square) {
    value *= value;
    all_squares += value;
  }
  const double rounding = kNoVariance * std::max(all_squares, static_cast<double>(d.size()) * centre * centre);
  const auto dz = [centre, rounding](std::span<const double> totals, std::span<std::optional<double>> values) {
    const double n = totals[2];
    if (n < 2) return;
    const double shift = totals[0] / n;
    const double squares = totals[1] - n * shift * shift;
    const double average = centre + shift;
    if (squares > rounding) values[0] = average / std::sqrt(squares / (n - 1));
    else if (average == 0) values[0] = 0.0;
  };
  auto out = std::move(bootstrap(cluster_table({gap, square}, clusters), 1, dz, options)[0]);
  out.estimate = paired_dz(d);
  return out;
}

double cohens_h(double p1, double p2) {
  require_closed_unit(p1, "Cohen's h: first proportion");
  require_closed_unit(p2, "Cohen's h: second proportion");
  return 2 * std::asin(std::sqrt(p1)) - 2 * std::asin(std::sqrt(p2));
}

Outcome<double> cliffs_delta(std::span<const double> a, std::span<const double> b) {
  require_finite(a, "Cliff's delta: first side");
  require_finite(b, "Cliff's delta: second side");
  if (a.empty() || b.empty()) return Outcome<double>::undefined("one side has no values");
  std::vector<double> sorted(b.begin(), b.end());
  std::ranges::sort(sorted);
  int64_t more = 0, less = 0;
  for (const double value : a) {
    more += std::ranges::lower_bound(sorted, value) - sorted.begin();
    less += sorted.end() - std::ranges::upper_bound(sorted, value);
  }
  return static_cast<double>(more - less) / (static_cast<double>(a.size()) * static_cast<double>(b.size()));
}

Outcome<double> ratio_of_means(std::span<const double> a, std::span<const double> b) {
  require_finite(a, "ratio: numerators");
  require_finite(b, "ratio: denominators");
  if (a.empty() || b.empty()) return Outcome<double>::undefined("one side has no values");
  const double top = *mean(a);
  const double bottom = *mean(b);
  if (bottom == 0)
    return Outcome<double>::undefined(top == 0 ? "0/0: both means are 0" : "the denominator's mean is 0");
  return top / bottom;
}

}  // namespace fare::stats
