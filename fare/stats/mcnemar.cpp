#include "fare/stats/mcnemar.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fare/core/parallel.h"
#include "fare/core/philox.h"
#include "fare/stats/distributions.h"
#include "fare/stats/inputs.h"
#include "fare/stats/proportions.h"

namespace fare::stats {
namespace {

double p_of(int64_t smaller, int64_t total, McNemarVariant variant) {
  if (total == 0) return 1;
  const double tail = binomial_cdf(smaller, total, 0.5);
  if (variant == McNemarVariant::kExact) return std::min(1.0, 2 * tail);
  const double here = binomial_pmf(smaller, total, 0.5);
  return 2 * smaller == total ? 1 - here / 2 : 2 * tail - here;
}

void check_shares(int64_t n, double p10, double p01, double alpha) {
  require_count(0, n, "McNemar power: items");
  require_closed_unit(p10, "McNemar power: p10");
  require_closed_unit(p01, "McNemar power: p01");
  if (p10 + p01 > 1 + 1e-12) throw UsageError("McNemar power: p10 + p01 is above 1; they are shares of the same items");
  require_open_unit(alpha, "McNemar power: alpha");
}

}  // namespace

McNemar mcnemar(int64_t b, int64_t c) {
  if (b < 0 || c < 0) throw UsageError("McNemar: counts must not be negative");
  McNemar out;
  out.b = b;
  out.c = c;
  const int64_t total = b + c;
  const int64_t smaller = std::min(b, c);
  out.exact_p = p_of(smaller, total, McNemarVariant::kExact);
  out.mid_p = p_of(smaller, total, McNemarVariant::kMidP);
  if (total > 0) {
    const double gap = std::abs(static_cast<double>(b) - static_cast<double>(c));
    out.chi2 = gap * gap / static_cast<double>(total);
    const double corrected = std::max(0.0, gap - 1);
    out.chi2_cc = corrected * corrected / static_cast<double>(total);
    out.chi2_p = chi2_sf(*out.chi2, 1);
    out.chi2_cc_p = chi2_sf(*out.chi2_cc, 1);
  }
  return out;
}

Outcome<MatchedOddsRatio> matched_odds_ratio(int64_t b, int64_t c, double confidence) {
  if (b < 0 || c < 0) throw UsageError("matched odds ratio: counts must not be negative");
  if (b + c == 0) return Outcome<MatchedOddsRatio>::undefined("no item changed");
  MatchedOddsRatio out;
  const double first = static_cast<double>(b), second = static_cast<double>(c);
  out.haldane = (first + 0.5) / (second + 0.5);
  out.cohens_g = first / (first + second) - 0.5;
  const auto share = *clopper_pearson_interval(b, b + c, confidence);
  // c = 0: the ratio has no upper limit; the lower one exists.
  if (c > 0) {
    out.odds_ratio = first / second;
    out.high = share.high / (1 - share.high);
  }
  out.low = share.low / (1 - share.low);
  return out;
}

double mcnemar_power(int64_t n, double p10, double p01, double alpha, McNemarVariant variant) {
  check_shares(n, p10, p01, alpha);
  const double discordance = std::min(1.0, p10 + p01);
  if (discordance == 0) return 0;
  const double share = std::min(1.0, p10 / discordance);
  double power = 0;
  int64_t critical = -1;  // Largest smaller count that rejects; never falls as the number of changed items grows.
  for (int64_t changed = 1; changed <= n; ++changed) {
    while (2 * (critical + 1) <= changed && p_of(critical + 1, changed, variant) <= alpha) ++critical;
    if (critical < 0) continue;
    const double weight = binomial_pmf(changed, n, discordance);
    if (weight == 0) continue;
    const bool always = 2 * critical >= changed;
    power +=
        weight *
        (always ? 1.0 : binomial_cdf(critical, changed, share) + binomial_sf(changed - critical - 1, changed, share));
  }
  return std::min(1.0, power);
}

SimulatedPower simulate_mcnemar_power(int64_t n, double p10, double p01, double alpha, const PowerSimulation& options) {
  check_shares(n, p10, p01, alpha);
  if (options.simulations < 1 || options.simulations > int64_t{1} << 32) {
    throw UsageError("McNemar power: simulations is " + std::to_string(options.simulations) + "; accepted: 1 to 2^32");
  }
  std::vector<char> rejected(options.simulations, 0);
  parallel_for(options.simulations, options.num_threads, [&](int64_t r) {
    const RandomStream stream(options.seed, options.label, static_cast<uint32_t>(r));
    int64_t b = 0, c = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double u = stream.uniform(i);
      if (u < p10) ++b;
      else if (u < p10 + p01) ++c;
    }
    rejected[r] = p_of(std::min(b, c), b + c, options.variant) <= alpha;
  });
  SimulatedPower out;
  out.simulations = options.simulations;
  out.rejections = std::ranges::count(rejected, 1);
  out.power = static_cast<double>(out.rejections) / static_cast<double>(out.simulations);
  return out;
}

}  // namespace fare::stats
