#include "fare/stats/proportions.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/distributions.h"
#include "fare/stats/inputs.h"

namespace fare::stats {

Outcome<Interval> wilson_interval(int64_t k, int64_t n, double confidence) {
  require_count(k, n, "Wilson interval");
  require_open_unit(confidence, "confidence");
  if (n == 0) return Outcome<Interval>::undefined("proportion of no items");
  const double z = normal_quantile(0.5 + confidence / 2);
  const double size = static_cast<double>(n);
  const double share = static_cast<double>(k) / size;
  const double scale = 1 + z * z / size;
  const double centre = (share + z * z / (2 * size)) / scale;
  const double half = z / scale * std::sqrt(share * (1 - share) / size + z * z / (4 * size * size));
  return Interval{k == 0 ? 0.0 : centre - half, k == n ? 1.0 : centre + half};
}

Outcome<double> clopper_pearson_upper(int64_t k, int64_t n, double confidence) {
  require_count(k, n, "Clopper-Pearson bound");
  require_open_unit(confidence, "confidence");
  if (n == 0) return Outcome<double>::undefined("proportion of no items");
  if (k == n) return 1.0;
  return beta_quantile(static_cast<double>(k) + 1, static_cast<double>(n - k), confidence);
}

Outcome<double> clopper_pearson_lower(int64_t k, int64_t n, double confidence) {
  require_count(k, n, "Clopper-Pearson bound");
  require_open_unit(confidence, "confidence");
  if (n == 0) return Outcome<double>::undefined("proportion of no items");
  if (k == 0) return 0.0;
  return beta_quantile(static_cast<double>(k), static_cast<double>(n - k) + 1, 1 - confidence);
}

Outcome<Interval> clopper_pearson_interval(int64_t k, int64_t n, double confidence) {
  require_count(k, n, "Clopper-Pearson interval");
  require_open_unit(confidence, "confidence");
  if (n == 0) return Outcome<Interval>::undefined("proportion of no items");
  const double each = 0.5 + confidence / 2;
  return Interval{*clopper_pearson_lower(k, n, each), *clopper_pearson_upper(k, n, each)};
}

Outcome<BinomialTest> binomial_test(int64_t k, int64_t n, double p0) {
  require_count(k, n, "binomial test");
  require_closed_unit(p0, "binomial test: p0");
  if (n == 0) return Outcome<BinomialTest>::undefined("test on no items");
  const double here = binomial_pmf(k, n, p0);
  const double as_likely = here * (1 + 1e-7);  // Equal probabilities may differ in the last bits.
  const double mode = static_cast<double>(n) * p0;
  BinomialTest out;
  if (static_cast<double>(k) == mode) {
    out.mid_p = 1 - here / 2;
    return out;
  }
  // On the other side of the mode the probabilities fall outwards: find the innermost outcome not more likely than k.
  double other = 0;     // Probability of the far tail.
  double equal = here;  // Outcomes exactly as likely as k.
  if (static_cast<double>(k) < mode) {
    int64_t low = static_cast<int64_t>(std::ceil(mode)), high = n + 1;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (binomial_pmf(middle, n, p0) <= as_likely) high = middle;
      else low = middle + 1;
    }
    other = binomial_sf(low - 1, n, p0);
    if (low <= n && binomial_pmf(low, n, p0) >= here * (1 - 1e-7)) equal += binomial_pmf(low, n, p0);
    out.exact_p = std::min(1.0, binomial_cdf(k, n, p0) + other);
  } else {
    int64_t low = -1, high = static_cast<int64_t>(std::floor(mode));
    while (low < high) {
      const int64_t middle = high - (high - low) / 2;
      if (binomial_pmf(middle, n, p0) <= as_likely) low = middle;
      else high = middle - 1;
    }
    other = binomial_cdf(low, n, p0);
    if (low >= 0 && binomial_pmf(low, n, p0) >= here * (1 - 1e-7)) equal += binomial_pmf(low, n, p0);
    out.exact_p = std::min(1.0, binomial_sf(k - 1, n, p0) + other);
  }
  out.mid_p = out.exact_p - equal / 2;
  return out;
}

Outcome<PairedExactBounds> paired_exact_bounds(int64_t improved, int64_t worsened, int64_t num_clusters,
                                               double confidence) {
  require_count(improved, num_clusters, "improved clusters");
  require_count(worsened, num_clusters - improved, "worsened clusters");
  if (num_clusters == 0) return Outcome<PairedExactBounds>::undefined("there are no clusters");
  const double improved_low = *clopper_pearson_lower(improved, num_clusters, confidence);
  const double improved_high = *clopper_pearson_upper(improved, num_clusters, confidence);
  const double worsened_low = *clopper_pearson_lower(worsened, num_clusters, confidence);
  const double worsened_high = *clopper_pearson_upper(worsened, num_clusters, confidence);
  return PairedExactBounds{improved_low - worsened_high, improved_high - worsened_low};
}

int64_t clusters_for_zero_discordance(double margin, double confidence) {
  require_open_unit(margin, "margin");
  require_open_unit(confidence, "confidence");
  return static_cast<int64_t>(std::ceil(std::log1p(-confidence) / std::log1p(-margin)));
}

}  // namespace fare::stats
