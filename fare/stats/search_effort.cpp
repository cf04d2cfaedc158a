#include "fare/stats/search_effort.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "fare/core/error.h"
#include "fare/stats/inputs.h"

namespace fare::stats {

Outcome<double> expected_best(std::span<const double> values, int64_t budget) {
  require_finite(values, "expected best");
  const auto n = static_cast<int64_t>(values.size());
  if (budget < 1 || budget > n) {
    return Outcome<double>::undefined("a budget of " + std::to_string(budget) + " tries out of " + std::to_string(n));
  }
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  double weight = static_cast<double>(budget) / static_cast<double>(n);  // C(N-1, b-1) / C(N, b)
  double total = 0;
  for (int64_t i = n; i >= budget; --i) {
    total += sorted[i - 1] * weight;
    if (i > 1) weight *= static_cast<double>(i - budget) / static_cast<double>(i - 1);
  }
  return total;
}

double expected_max_of_normals(int64_t n) {
  if (n < 1) throw UsageError("expected maximum: of " + std::to_string(n) + " values; accepted: 1 or more");
  // E max = integral of 1 - F^n above 0 minus integral of F^n below; Simpson's rule, where the tails are below 1e-12.
  constexpr int kSteps = 4000;
  constexpr double kFar = 12, kWidth = kFar / kSteps;
  const auto power = [&](double x) {  // F(x)^n without loss where F is close to 1
    const double upper = 0.5 * std::erfc(x / std::numbers::sqrt2);
    return std::exp(static_cast<double>(n) * std::log1p(-upper));
  };
  double total = 0;
  for (int i = 0; i <= kSteps; ++i) {
    const double weight = i == 0 || i == kSteps ? 1 : i % 2 == 1 ? 4 : 2, x = i * kWidth;
    total += weight * ((1 - power(x)) - power(-x));
  }
  return total * kWidth / 3;
}

Outcome<double> pass_at_k(int64_t n, int64_t c, int64_t k) {
  require_count(c, n, "pass@k: correct samples");
  if (k < 1) throw UsageError("pass@k: k is " + std::to_string(k) + "; accepted: 1 or more");
  if (k > n) {
    return Outcome<double>::undefined("pass@" + std::to_string(k) + " needs at least " + std::to_string(k) +
                                      " samples; there are " + std::to_string(n));
  }
  if (n - c < k) return 1.0;
  double miss = 1;
  for (int64_t i = n - c + 1; i <= n; ++i) miss *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - miss;
}

}  // namespace fare::stats
