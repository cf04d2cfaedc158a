#include "fare/stats/ranks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fare/core/parallel.h"
#include "fare/stats/draws.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {
namespace {

// Index of each value among the distinct values, ascending.
struct Levels {
  std::vector<uint32_t> of_item;
  uint32_t count = 0;
};

Levels levels_of(std::span<const double> values) {
  std::vector<double> distinct(values.begin(), values.end());
  std::ranges::sort(distinct);
  const auto repeated = std::ranges::unique(distinct);
  distinct.erase(repeated.begin(), repeated.end());
  Levels out;
  out.count = static_cast<uint32_t>(distinct.size());
  for (const double value : values) {
    out.of_item.push_back(static_cast<uint32_t>(std::ranges::lower_bound(distinct, value) - distinct.begin()));
  }
  return out;
}

// Mean rank of each level when item i is present weight[i] times.
void ranks_of_levels(const Levels& levels, std::span<const double> weight, std::vector<double>& rank) {
  rank.assign(levels.count, 0.0);
  for (size_t i = 0; i < weight.size(); ++i) rank[levels.of_item[i]] += weight[i];
  double before = 0;
  for (double& r : rank) {
    const double here = r;
    r = before + (here + 1) / 2;
    before += here;
  }
}

std::optional<double> weighted_spearman(const Levels& x, const Levels& y, std::span<const double> weight,
                                        std::vector<double>& rank_x, std::vector<double>& rank_y) {
  ranks_of_levels(x, weight, rank_x);
  ranks_of_levels(y, weight, rank_y);
  const double n = sum(weight);
  const double centre = (n + 1) / 2;  // mean of the ranks 1..n, ties or not
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < weight.size(); ++i) {
    const double a = rank_x[x.of_item[i]] - centre, b = rank_y[y.of_item[i]] - centre;
    xx += weight[i] * a * a;
    yy += weight[i] * b * b;
    xy += weight[i] * a * b;
  }
  if (n < 2 || xx <= 0 || yy <= 0) return std::nullopt;
  return std::clamp(xy / std::sqrt(xx) / std::sqrt(yy), -1.0, 1.0);
}

// Residuals of `target` after least squares on the columns (modified Gram-Schmidt; columns are centred already).
void take_off(std::vector<double>& target, const std::vector<std::vector<double>>& basis) {
  for (const auto& column : basis) {
    const double dot = std::inner_product(column.begin(), column.end(), target.begin(), 0.0);
    for (size_t i = 0; i < target.size(); ++i) target[i] -= dot * column[i];
  }
}

std::vector<double> centred_ranks(std::span<const double> values) {
  auto ranks = average_ranks(values);
  const double centre = (static_cast<double>(ranks.size()) + 1) / 2;
  for (double& r : ranks) r -= centre;
  return ranks;
}

double norm(std::span<const double> v) { return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0)); }

}  // namespace

std::vector<double> average_ranks(std::span<const double> values) {
  require_finite(values, "ranks");
  const auto levels = levels_of(values);
  std::vector<double> rank;
  const std::vector<double> once(values.size(), 1.0);
  ranks_of_levels(levels, once, rank);
  std::vector<double> out;
  out.reserve(values.size());
  for (const uint32_t level : levels.of_item) out.push_back(rank[level]);
  return out;
}

Outcome<double> spearman(std::span<const double> x, std::span<const double> y) {
  require_same_length(x.size(), "x", y.size(), "y");
  const auto rank_x = average_ranks(x), rank_y = average_ranks(y);
  return correlation(rank_x, rank_y);
}

Outcome<double> partial_spearman(std::span<const double> x, std::span<const double> y,
                                 const std::vector<std::span<const double>>& given) {
  require_same_length(x.size(), "x", y.size(), "y");
  auto rest_x = centred_ranks(x), rest_y = centred_ranks(y);
  const double size_x = norm(rest_x), size_y = norm(rest_y);
  std::vector<std::vector<double>> basis;
  for (const auto column : given) {
    require_same_length(column.size(), "given column", x.size(), "x");
    auto ranks = centred_ranks(column);
    const double size = norm(ranks);
    take_off(ranks, basis);
    const double left = norm(ranks);
    if (left <= 1e-9 * size) continue;  // constant, or explained by the columns before it
    for (double& r : ranks) r /= left;
    basis.push_back(std::move(ranks));
  }
  if (x.size() < basis.size() + 3) return Outcome<double>::undefined("too few items for a partial correlation");
  take_off(rest_x, basis);
  take_off(rest_y, basis);
  const double left_x = norm(rest_x), left_y = norm(rest_y);
  if (left_x <= 1e-9 * size_x || left_y <= 1e-9 * size_y) {
    return Outcome<double>::undefined("the given columns explain one side completely, or it is constant");
  }
  return std::clamp(std::inner_product(rest_x.begin(), rest_x.end(), rest_y.begin(), 0.0) / left_x / left_y, -1.0, 1.0);
}

Distribution bootstrap_spearman(std::span<const double> x, std::span<const double> y, const Clusters& clusters,
                                const ResampleOptions& options) {
  require_same_length(x.size(), "x", y.size(), "y");
  require_same_length(x.size(), "x", clusters.of_item.size(), "clusters");
  if (options.replicates < 1 || options.replicates > int64_t{1} << 32) {
    throw UsageError("bootstrap: replicates is " + std::to_string(options.replicates) + "; accepted: 1 to 2^32");
  }
  Distribution out;
  out.estimate = spearman(x, y);
  if (clusters.num_clusters == 0) return out;
  const auto levels_x = levels_of(x), levels_y = levels_of(y);
  const StreamAddress address(options.seed, options.label);
  std::vector<std::optional<double>> values(options.replicates);
  const auto with_counts = [&](std::span<const double> cluster_count, std::vector<double>& weight,
                               std::vector<double>& rank_x, std::vector<double>& rank_y) {
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = cluster_count[clusters.of_item[i]];
    return weighted_spearman(levels_x, levels_y, weight, rank_x, rank_y);
  };
  constexpr int64_t kPerTask = 64;
  parallel_for((options.replicates + kPerTask - 1) / kPerTask, options.num_threads, [&](int64_t task) {
    std::vector<uint32_t> drawn(clusters.num_clusters);
    std::vector<double> count(clusters.num_clusters), weight(x.size()), rank_x, rank_y;
    const int64_t last = std::min(options.replicates, (task + 1) * kPerTask);
    for (int64_t r = task * kPerTask; r < last; ++r) {
      draw_indices(address, static_cast<uint32_t>(r), 0, clusters.num_clusters, drawn);
      std::ranges::fill(count, 0.0);
      for (const uint32_t c : drawn) count[c] += 1;
      values[r] = with_counts(count, weight, rank_x, rank_y);
    }
  });
  std::vector<double> count(clusters.num_clusters, 1.0), weight(x.size()), rank_x, rank_y;
  for (size_t c = 0; c < count.size(); ++c) {
    count[c] = 0;
    if (const auto value = with_counts(count, weight, rank_x, rank_y)) out.leave_one_out.push_back(*value);
    count[c] = 1;
  }
  for (const auto& value : values) {
    if (value) out.replicates.push_back(*value);
    else ++out.num_undefined;
  }
  out.sorted = out.replicates;
  std::ranges::sort(out.sorted);
  return out;
}

}  // namespace fare::stats
