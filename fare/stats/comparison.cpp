#include "fare/stats/comparison.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/effect_size.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"
#include "fare/stats/proportions.h"

namespace fare::stats {
namespace {

constexpr double kConfidence = 0.95;  // Where it is asked which interval is used.
constexpr int64_t kFewDiscordantClusters = 10;
constexpr double kRounding = 1e-9;  // Relative to `largest`.

std::string label(std::string_view kind, const std::string& metric) {
  return std::string(kind) + (metric.empty() ? "" : "/" + metric);
}

bool same_mean_everywhere(std::span<const double> sums, std::span<const double> sizes, double tolerance) {
  for (size_t c = 0; c < sums.size(); ++c) {
    if (std::abs(sums[c] / sizes[c] - sums[0] / sizes[0]) > tolerance) return false;
  }
  return true;
}

std::vector<ExactLayer> exact_layers(std::span<const double> sums, std::span<const double> sizes, double largest,
                                     double tolerance) {
  std::vector<double> heights{largest};
  for (size_t c = 0; c < sums.size(); ++c)
    if (const double height = std::abs(sums[c] / sizes[c]); height > tolerance && height < largest - tolerance)
      heights.push_back(height);
  std::ranges::sort(heights);
  std::vector<ExactLayer> layers;
  double below = 0;
  for (const double height : heights) {
    if (height - below <= tolerance) continue;  // the same height again
    ExactLayer layer{height - below, 0, 0};
    for (size_t c = 0; c < sums.size(); ++c) {
      layer.up += sums[c] / sizes[c] >= height - tolerance;
      layer.down += sums[c] / sizes[c] <= -(height - tolerance);
    }
    layers.push_back(layer);
    below = height;
  }
  return layers;
}

}  // namespace

Outcome<Interval> Comparison::interval(double confidence) const {
  if (!exact) {
    const auto drawn = bootstrap.interval(interval_kind, confidence);
    return drawn ? drawn->interval : Outcome<Interval>::undefined(drawn.reason);
  }
  // Every layer's limits hold together at this confidence (Bonferroni); clusters of unequal size move the mean of items
  // away from that of clusters, and the bounds with it.
  const double level = 1 - (1 - confidence) / 2 / static_cast<double>(layers.size());
  Interval sum{0, 0};
  double centre = 0;
  for (const ExactLayer& layer : layers) {
    const auto bounds = paired_exact_bounds(layer.up, layer.down, num_clusters, level);
    if (!bounds) return Outcome<Interval>::undefined(bounds.reason);
    sum.low += layer.height * bounds->lower;
    sum.high += layer.height * bounds->upper;
    centre += layer.height * static_cast<double>(layer.up - layer.down) / static_cast<double>(num_clusters);
  }
  return Interval{std::max(-largest, sum.low + estimate - centre), std::min(largest, sum.high + estimate - centre)};
}

Outcome<double> Comparison::detectable_effect() const {
  if (mde || increased + decreased > 0 || std::isinf(largest)) return mde;
  const auto most = clopper_pearson_upper(0, num_clusters, 0.95);
  if (!most) return mde;
  return minimum_detectable_effect(largest * std::sqrt(*most), num_effective);
}

namespace {

void check(std::span<const double> d, const Clusters& clusters, const ComparisonOptions& options) {
  require_same_length(d.size(), "differences", clusters.of_item.size(), "clusters");
  require_finite(d, "differences");
  if (!std::isinf(options.largest)) require_positive(options.largest, "largest difference");
}

// `drawn`: the bootstrap of `d`.
Comparison compare(std::span<const double> d, const Clusters& clusters, const ComparisonOptions& options, bool tested,
                   Distribution drawn) {
  const bool has_bound = !std::isinf(options.largest);
  Comparison out;
  out.num_items = static_cast<int64_t>(d.size());
  out.num_clusters = clusters.num_clusters;
  out.largest = options.largest;
  out.estimate = *mean(d);
  const double tolerance = has_bound ? kRounding * options.largest : 0;
  bool bounded = has_bound, yes_or_no = has_bound;
  for (const double value : d) {
    out.increased += value > 0;
    out.decreased += value < 0;
    bounded &= std::abs(value) <= options.largest + tolerance;
    yes_or_no &= value == 0 || std::abs(std::abs(value) - options.largest) <= tolerance;
  }
  const auto sums = cluster_sums(d, clusters);
  const auto sizes = clusters.sizes();
  for (const double total : sums) {
    out.increased_clusters += total > tolerance;
    out.decreased_clusters += total < -tolerance;
  }

  if (tested) {
    SignFlipOptions flips;
    flips.seed = options.seed;
    flips.label = label("permutation/sign-flip", options.metric);
    flips.alternative = options.alternative;
    flips.draws = options.draws;
    flips.num_threads = options.num_threads;
    out.test = *sign_flip(sums, flips);
  }
  out.bootstrap = std::move(drawn);
  const bool constant = same_mean_everywhere(sums, sizes, tolerance);
  const bool few = out.increased_clusters + out.decreased_clusters < kFewDiscordantClusters;
  out.exact = bounded && (few || constant);
  if (out.exact) out.layers = exact_layers(sums, sizes, options.largest, tolerance);
  out.interval_kind = options.interval;
  if (constant && !out.exact) {
    out.bootstrap.estimate = Outcome<double>::undefined("the differences do not vary and have no known bound");
  }
  const auto interval = out.bootstrap.interval(options.interval, kConfidence);
  out.interval_method = out.exact ? "exact bounds of paired differences" : interval ? interval->name() : "none";

  if (const auto error = clustered_error(d, clusters)) out.icc = error->anova.icc;
  else out.icc = Outcome<double>::undefined(error.reason);
  out.num_effective = effective_items(clusters, out.icc);
  out.sd = sample_sd(d);
  out.dz = paired_dz(d);
  if (yes_or_no) {
    out.mcnemar = mcnemar(out.increased, out.decreased);
    const double share = static_cast<double>(out.increased + out.decreased) / static_cast<double>(out.num_items);
    out.discordance = share;
    out.mde = minimum_detectable_shift(share, out.num_effective, options.levels);
    if (out.mde) out.mde = options.largest * *out.mde;
    if (share > 0)
      out.equivalence_margin =
          smallest_equivalence_margin(options.largest * std::sqrt(share), out.num_effective, options.levels);
    else
      out.equivalence_margin =
          Outcome<double>::undefined("no item changed: the discordance is unknown; use exact bounds");
  } else if (out.sd && *out.sd == 0) {
    out.mde = out.equivalence_margin =
        Outcome<double>::undefined("the differences do not vary: their spread is unknown");
  } else if (out.sd) {
    out.mde = minimum_detectable_effect(*out.sd, out.num_effective, options.levels);
    out.equivalence_margin = smallest_equivalence_margin(*out.sd, out.num_effective, options.levels);
  } else {
    out.mde = out.sd;
    out.equivalence_margin = out.sd;
  }
  return out;
}

}  // namespace

Outcome<Comparison> compare_paired(std::span<const double> d, const Clusters& clusters,
                                   const ComparisonOptions& options) {
  return compare_columns({d}, clusters, options).front();
}

std::vector<Outcome<Comparison>> compare_columns(const std::vector<std::span<const double>>& columns,
                                                 const Clusters& clusters, const ComparisonOptions& options) {
  for (const auto& d : columns) check(d, clusters, options);
  if (clusters.of_item.empty())
    return std::vector(columns.size(), Outcome<Comparison>::undefined("there are no items to compare"));
  ResampleOptions resample;
  resample.seed = options.seed;
  resample.label = label("bootstrap/cluster", options.metric);
  resample.replicates = options.replicates;
  resample.num_threads = options.num_threads;
  std::vector<Distribution> drawn = bootstrap_cluster_means(columns, clusters, resample);
  std::vector<Outcome<Comparison>> compared;
  for (size_t k = 0; k < columns.size(); ++k)
    compared.emplace_back(compare(columns[k], clusters, options, k == 0, std::move(drawn[k])));
  return compared;
}

}  // namespace fare::stats
