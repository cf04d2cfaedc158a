// What a search of a given size finds: the expected best of b tries (methods F9) and pass@k.
#pragma once

#include <cstdint>
#include <span>

#include "fare/stats/outcome.h"

namespace fare::stats {

// Expected maximum of `budget` of the N values drawn without replacement: sum_i v_(i) C(i-1, b-1) / C(N, b), unbiased.
// Undefined unless 1 <= budget <= N.
Outcome<double> expected_best(std::span<const double> values, int64_t budget);

// Expected largest of `n` independent standard normal values, to 1e-9: what a search among n tries without any effect
// finds, in standard errors (methods F7). Throws UsageError for n < 1.
double expected_max_of_normals(int64_t n);

// Chance that at least one of k samples is correct, estimated from n samples of which c are: 1 - C(n-c, k) / C(n, k)
// (Chen et al. 2021). Undefined for k > n. Throws UsageError unless 0 <= c <= n and k >= 1.
Outcome<double> pass_at_k(int64_t n, int64_t c, int64_t k);

}  // namespace fare::stats
