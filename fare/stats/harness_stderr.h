// Standard errors as the evaluation harness prints them: items independent, pooled over a group's tasks, or a bootstrap
// on Python's generator. For the compat profile only; FARE's own errors are in clusters.h and bootstrap.h.
// Source: lm-evaluation-harness 0.4, metrics; benchmarks section 1.10.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "fare/stats/outcome.h"

namespace fare::stats {

// sqrt(sum (x - mean)^2 / (n - 1)) / sqrt(n). Undefined for n < 2 (the harness prints "N/A").
Outcome<double> harness_mean_stderr(std::span<const double> values);

// sum n v / sum n. Undefined when there are no items.
Outcome<double> harness_weighted_mean(std::span<const double> values, std::span<const int64_t> sizes);

// Group weighted by size: sqrt([sum (n-1) n se^2 / (sum n - S)] / sum n) over S tasks. Undefined when sum n <= S.
Outcome<double> harness_pooled_stderr(std::span<const double> stderrs, std::span<const int64_t> sizes);

// Group of tasks that weigh the same: sqrt(sum se^2) / S. Undefined for no tasks.
Outcome<double> harness_unweighted_stderr(std::span<const double> stderrs);

// Sample SD of `statistic` over `iterations` resamples, in chunks of 1,000 (a last incomplete chunk is not run); chunk
// c uses Python's generator seeded with c. Undefined for n < 2 or fewer than 2 replicates.
Outcome<double> harness_bootstrap_stderr(std::span<const double> values,
                                         const std::function<double(std::span<const double>)>& statistic,
                                         int64_t iterations, int num_threads);

// The harness's median: the upper one, sorted[n / 2]. Undefined for no values.
Outcome<double> upper_median(std::span<const double> values);

}  // namespace fare::stats
