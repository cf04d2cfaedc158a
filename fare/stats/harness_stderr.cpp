#include "fare/stats/harness_stderr.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fare/core/parallel.h"
#include "fare/core/python_random.h"
#include "fare/stats/inputs.h"
#include "fare/stats/moments.h"

namespace fare::stats {

Outcome<double> harness_mean_stderr(std::span<const double> values) {
  require_finite(values, "values");
  const auto sd = sample_sd(values);
  if (!sd) return sd;
  return *sd / std::sqrt(static_cast<double>(values.size()));
}

Outcome<double> harness_weighted_mean(std::span<const double> values, std::span<const int64_t> sizes) {
  require_same_length(values.size(), "values", sizes.size(), "sizes");
  double total = 0, items = 0;
  for (size_t s = 0; s < values.size(); ++s) {
    total += values[s] * static_cast<double>(sizes[s]);
    items += static_cast<double>(sizes[s]);
  }
  if (items == 0) return Outcome<double>::undefined("the group has no items");
  return total / items;
}

Outcome<double> harness_pooled_stderr(std::span<const double> stderrs, std::span<const int64_t> sizes) {
  require_same_length(stderrs.size(), "standard errors", sizes.size(), "sizes");
  double pooled = 0, items = 0;
  for (size_t s = 0; s < stderrs.size(); ++s) {
    const auto n = static_cast<double>(sizes[s]);
    pooled += (n - 1) * n * stderrs[s] * stderrs[s];
    items += n;
  }
  const double df = items - static_cast<double>(stderrs.size());
  if (df <= 0) return Outcome<double>::undefined("no task of the group has more than one item");
  return std::sqrt(pooled / df / items);
}

Outcome<double> harness_unweighted_stderr(std::span<const double> stderrs) {
  if (stderrs.empty()) return Outcome<double>::undefined("the group has no tasks");
  double squares = 0;
  for (const double se : stderrs) squares += se * se;
  return std::sqrt(squares) / static_cast<double>(stderrs.size());
}

Outcome<double> harness_bootstrap_stderr(std::span<const double> values,
                                         const std::function<double(std::span<const double>)>& statistic,
                                         int64_t iterations, int num_threads) {
  if (values.size() < 2) return Outcome<double>::undefined("fewer than 2 values");
  if (iterations < 2) return Outcome<double>::undefined("fewer than 2 replicates");
  const int64_t chunk_size = std::min<int64_t>(1000, iterations);
  const int64_t chunks = iterations / chunk_size;
  std::vector<double> replicates(chunks * chunk_size);
  parallel_for(chunks, num_threads, [&](int64_t chunk) {
    PythonRandom random(static_cast<uint64_t>(chunk));
    std::vector<double> drawn(values.size());
    for (int64_t i = 0; i < chunk_size; ++i) {
      for (double& value : drawn) value = values[random.floor_index(values.size())];
      replicates[chunk * chunk_size + i] = statistic(drawn);
    }
  });
  require_finite(replicates, "bootstrap statistic");
  return sample_sd(replicates);
}

Outcome<double> upper_median(std::span<const double> values) {
  require_finite(values, "median");
  if (values.empty()) return Outcome<double>::undefined("median of no values");
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  return sorted[sorted.size() / 2];
}

}  // namespace fare::stats
