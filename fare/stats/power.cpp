#include "fare/stats/power.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/distributions.h"
#include "fare/stats/inputs.h"
#include "fare/stats/proportions.h"

namespace fare::stats {
namespace {

double check(double sd, const PowerLevels& levels) {
  require_open_unit(levels.alpha, "alpha");
  require_open_unit(levels.power, "power");
  if (sd != 0) require_positive(sd, "standard deviation");
  return sd;
}

double detectable_factor(const PowerLevels& levels) {
  return normal_quantile(1 - levels.alpha / 2) + normal_quantile(levels.power);
}

}  // namespace

Outcome<double> minimum_detectable_effect(double sd, double n, const PowerLevels& levels) {
  check(sd, levels);
  if (!(n > 0)) return Outcome<double>::undefined("there are no items");
  return detectable_factor(levels) * sd / std::sqrt(n);
}

Outcome<double> minimum_detectable_shift(double discordance, double n, const PowerLevels& levels) {
  require_closed_unit(discordance, "discordance");
  if (discordance == 0)
    return Outcome<double>::undefined("no item changed: the discordance is unknown; use exact bounds");
  const auto effect = minimum_detectable_effect(std::sqrt(discordance), n, levels);
  if (effect && *effect > discordance) {
    return Outcome<double>::undefined("unattainable: it would exceed the share of items that change");
  }
  return effect;
}

Outcome<double> smallest_equivalence_margin(double sd, double n, const PowerLevels& levels) {
  check(sd, levels);
  if (!(n > 0)) return Outcome<double>::undefined("there are no items");
  const double factor = normal_quantile(1 - levels.alpha) + normal_quantile(1 - (1 - levels.power) / 2);
  return factor * sd / std::sqrt(n);
}

int64_t items_needed(double sd, double effect, const PowerLevels& levels) {
  check(sd, levels);
  require_positive(effect, "effect");
  const double root = detectable_factor(levels) * sd / effect;
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(root * root)));
}

int64_t items_for_non_inferiority(double discordance, double tau, const PowerLevels& levels) {
  require_closed_unit(discordance, "discordance");
  check(0, levels);
  require_positive(tau, "non-inferiority margin");
  const double root = (normal_quantile(1 - levels.alpha) + normal_quantile(levels.power)) / tau;
  const auto by_variance = static_cast<int64_t>(std::ceil(root * root * discordance));
  return std::max(by_variance, tau < 1 ? clusters_for_zero_discordance(tau, 1 - levels.alpha) : int64_t{1});
}

}  // namespace fare::stats
