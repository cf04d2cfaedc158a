// Sign-flip permutation tests (methods F2). H0: the differences are symmetric about 0, unit by unit.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "fare/stats/clusters.h"
#include "fare/stats/outcome.h"

namespace fare::stats {

enum class Alternative {
  kTwoSided,
  kGreater,  // The differences are larger than 0.
  kLess,
};

struct SignFlipOptions {
  uint64_t seed = 0;
  std::string label = "permutation/sign-flip";  // A second analysis appends "/" and its metric.
  Alternative alternative = Alternative::kTwoSided;
  int64_t draws = 10000;     // Monte-Carlo draws where the test is not exact.
  int max_exact_units = 16;  // Up to this many units that are not 0 all sign vectors are enumerated; at most 24.
  bool drop_zeros = true;    // Exact test: leave units of 0 out of the enumeration (the p-value is the same).
  int num_threads = 1;
};

struct SignFlip {
  double p = 1;  // Exact: extreme / total. Monte Carlo: (1 + extreme) / (1 + total), never 0.
  bool exact = false;
  int64_t extreme = 0;  // Sign vectors at least as extreme as the data (tolerance 1e-12 * max(1, sum |d|)).
  int64_t total = 0;    // Sign vectors looked at.
  int64_t num_units = 0;
  int64_t num_nonzero = 0;
  double statistic = 0;   // Sum of the differences.
  double smallest_p = 1;  // The least p this test could have given: its resolution.
};

// One sign per entry of `d`. Undefined when `d` is empty; p = 1 when all are 0. Monte-Carlo draw r flips unit i when
// bit i of its stream is 1. Throws NumericError on NaN or Inf, UsageError on impossible options.
Outcome<SignFlip> sign_flip(std::span<const double> d, const SignFlipOptions& options);

// One sign per cluster, on cluster sums.
Outcome<SignFlip> sign_flip_clusters(std::span<const double> d, const Clusters& clusters,
                                     const SignFlipOptions& options);

}  // namespace fare::stats
