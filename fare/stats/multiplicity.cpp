#include "fare/stats/multiplicity.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "fare/stats/inputs.h"

namespace fare::stats {
namespace {

// Indices of the defined tests, by rising p.
std::vector<size_t> ascending(std::span<const std::optional<double>> p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i) {
    if (!p[i] || std::isnan(*p[i])) continue;
    require_closed_unit(*p[i], "p-value");
    order.push_back(i);
  }
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return *p[a] < *p[b]; });
  return order;
}

// q_(r) = min over s >= r of min(1, factor * p_(s) / s).
PValues step_up(std::span<const std::optional<double>> p, const std::vector<size_t>& order, double factor) {
  PValues out(p.size());
  double least = 1;
  for (size_t rank = order.size(); rank >= 1; --rank) {
    const size_t i = order[rank - 1];
    least = std::min(least, factor * *p[i] / static_cast<double>(rank));
    out[i] = least;
  }
  return out;
}

}  // namespace

PValues benjamini_hochberg(std::span<const std::optional<double>> p) {
  const auto order = ascending(p);
  return step_up(p, order, static_cast<double>(order.size()));
}

PValues benjamini_yekutieli(std::span<const std::optional<double>> p) {
  const auto order = ascending(p);
  double harmonic = 0;
  for (size_t i = 1; i <= order.size(); ++i) harmonic += 1 / static_cast<double>(i);
  return step_up(p, order, static_cast<double>(order.size()) * harmonic);
}

PValues holm(std::span<const std::optional<double>> p) {
  const auto order = ascending(p);
  PValues out(p.size());
  double most = 0;
  for (size_t s = 0; s < order.size(); ++s) {
    most = std::max(most, std::min(1.0, static_cast<double>(order.size() - s) * *p[order[s]]));
    out[order[s]] = most;
  }
  return out;
}

}  // namespace fare::stats
