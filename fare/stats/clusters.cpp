#include "fare/stats/clusters.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {

std::vector<double> Clusters::sizes() const {
  std::vector<double> count(num_clusters, 0.0);
  for (const int32_t c : of_item) count[c] += 1;
  return count;
}

Clusters cluster_by_name(std::span<const std::string> name_of_item) {
  Clusters out;
  out.of_item.reserve(name_of_item.size());
  std::unordered_map<std::string, int32_t> seen;
  for (const auto& name : name_of_item) {
    const auto [place, is_new] = seen.try_emplace(name, static_cast<int32_t>(seen.size()));
    if (is_new) out.names.push_back(name);
    out.of_item.push_back(place->second);
  }
  out.num_clusters = static_cast<int64_t>(out.names.size());
  return out;
}

Clusters one_cluster_per_item(int64_t num_items) {
  require_count(0, num_items, "number of items");
  Clusters out;
  out.of_item.resize(num_items);
  std::iota(out.of_item.begin(), out.of_item.end(), 0);
  out.num_clusters = num_items;
  return out;
}

std::vector<double> cluster_sums(std::span<const double> values, const Clusters& clusters) {
  require_same_length(values.size(), "values", clusters.of_item.size(), "clusters");
  std::vector<double> sums(clusters.num_clusters, 0.0);
  for (size_t i = 0; i < values.size(); ++i) sums[clusters.of_item[i]] += values[i];
  return sums;
}

Outcome<AnovaTerms> one_way_anova(std::span<const double> values, const Clusters& clusters) {
  require_finite(values, "values");
  const auto sums = cluster_sums(values, clusters);
  const auto sizes = clusters.sizes();
  const double n = static_cast<double>(values.size());
  const double groups = static_cast<double>(clusters.num_clusters);
  if (clusters.num_clusters < 2) return Outcome<AnovaTerms>::undefined("fewer than 2 clusters");

  const double grand = sum(values) / n;
  double between = 0, size_squares = 0;
  for (size_t c = 0; c < sums.size(); ++c) {
    const double gap = sums[c] / sizes[c] - grand;
    between += sizes[c] * gap * gap;
    size_squares += sizes[c] * sizes[c];
  }
  AnovaTerms out;
  out.ms_between = between / (groups - 1);
  out.n0 = (n - size_squares / n) / (groups - 1);
  if (n <= groups) {
    out.ms_within = Outcome<double>::undefined("every cluster has one item");
    out.icc = Outcome<double>::undefined("every cluster has one item");
    return out;
  }
  double within = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const int32_t c = clusters.of_item[i];
    const double gap = values[i] - sums[c] / sizes[c];
    within += gap * gap;
  }
  const double msw = within / (n - groups);
  out.ms_within = msw;
  const double denominator = out.ms_between + (out.n0 - 1) * msw;
  const auto [least, most] = std::ranges::minmax(values);
  if (denominator > 0 && least < most) out.icc = (out.ms_between - msw) / denominator;
  else out.icc = Outcome<double>::undefined("the values do not vary");
  return out;
}

Outcome<double> ClusteredError::ratio() const {
  if (se_naive == 0) return Outcome<double>::undefined("the naive error is 0");
  return se_cr1 / se_naive;
}

Outcome<ClusteredError> clustered_error(std::span<const double> values, const Clusters& clusters) {
  const auto anova = one_way_anova(values, clusters);
  if (!anova) return Outcome<ClusteredError>::undefined(anova.reason);
  ClusteredError out;
  const double n = static_cast<double>(values.size());
  const double groups = static_cast<double>(clusters.num_clusters);
  out.mean = sum(values) / n;
  out.num_items = static_cast<int64_t>(values.size());
  out.num_clusters = clusters.num_clusters;
  out.df = clusters.num_clusters - 1;
  out.se_naive = *sample_sd(values) / std::sqrt(n);
  std::vector<double> residuals(values.begin(), values.end());
  for (double& e : residuals) e -= out.mean;
  double squares = 0;
  for (const double total : cluster_sums(residuals, clusters)) squares += total * total;
  out.se_cr0 = std::sqrt(squares) / n;
  out.se_cr1 = out.se_cr0 * std::sqrt(groups / (groups - 1));
  out.anova = *anova;
  return out;
}

double effective_items(const Clusters& clusters, const Outcome<double>& icc) {
  const double n = static_cast<double>(clusters.num_items());
  const double groups = static_cast<double>(clusters.num_clusters);
  if (n == groups) return n;
  const double share = icc ? std::clamp(*icc, 0.0, 1.0) : 1.0;
  return n / (1 + (n / groups - 1) * share);
}

Outcome<RatioEstimate> ratio_of_sums(std::span<const double> numerator_sums, std::span<const double> denominator_sums) {
  require_same_length(numerator_sums.size(), "numerators", denominator_sums.size(), "denominators");
  require_finite(numerator_sums, "numerators");
  require_finite(denominator_sums, "denominators");
  const double groups = static_cast<double>(numerator_sums.size());
  if (groups < 2) return Outcome<RatioEstimate>::undefined("fewer than 2 clusters");
  const double total = sum(denominator_sums);
  if (total == 0) return Outcome<RatioEstimate>::undefined("the denominator is 0");
  RatioEstimate out;
  out.ratio = sum(numerator_sums) / total;
  double squares = 0;
  for (size_t c = 0; c < numerator_sums.size(); ++c) {
    const double residual = numerator_sums[c] - out.ratio * denominator_sums[c];
    squares += residual * residual;
  }
  out.se = std::sqrt(groups / (groups - 1) * squares) / std::abs(total);
  return out;
}

Outcome<SeedAnalysis> analyse_seeds(const std::vector<std::vector<double>>& samples) {
  if (samples.size() < 2) return Outcome<SeedAnalysis>::undefined("fewer than 2 prompts");
  std::vector<double> values;
  std::vector<double> prompt_means;
  Clusters clusters;
  clusters.num_clusters = static_cast<int64_t>(samples.size());
  for (size_t p = 0; p < samples.size(); ++p) {
    if (samples[p].empty()) throw UsageError("prompt " + std::to_string(p) + " has no samples; leave it out");
    for (const double value : samples[p]) {
      values.push_back(value);
      clusters.of_item.push_back(static_cast<int32_t>(p));
    }
    prompt_means.push_back(*mean(samples[p]));
  }
  SeedAnalysis out;
  out.anova = *one_way_anova(values, clusters);
  out.mean_of_means = *mean(prompt_means);
  out.ratio_of_sums = *mean(values);
  out.se_cluster_mean = *sample_sd(prompt_means) / std::sqrt(static_cast<double>(samples.size()));
  if (out.anova.ms_within) {
    const double within = *out.anova.ms_within;
    out.var_within = within;
    out.var_between = std::max(0.0, (out.anova.ms_between - within) / out.anova.n0);
  }
  return out;
}

}  // namespace fare::stats
