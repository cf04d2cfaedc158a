#include "fare/stats/equivalence.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/distributions.h"
#include "fare/stats/inputs.h"
#include "fare/stats/paired_t.h"

namespace fare::stats {

Outcome<Tost> tost(double estimate, double se, std::optional<double> df, double delta, double alpha) {
  require_positive(delta, "equivalence margin");
  if (!(alpha > 0 && alpha < 0.5)) require_open_unit(2 * alpha, "TOST: twice alpha");
  require_finite(std::initializer_list<double>{estimate, se}, "TOST: estimate and standard error");
  if (se < 0) require_positive(se, "TOST: standard error");
  if (se == 0) return Outcome<Tost>::undefined("the standard error is 0; use exact bounds");
  Tost out;
  out.t_lower = (estimate + delta) / se;
  out.t_upper = (estimate - delta) / se;
  out.p_lower = df ? student_t_sf(out.t_lower, *df) : normal_sf(out.t_lower);
  out.p_upper = df ? student_t_cdf(out.t_upper, *df) : normal_cdf(out.t_upper);
  out.p = std::max(out.p_lower, out.p_upper);
  const double half = se * (df ? student_t_quantile(1 - alpha, *df) : normal_quantile(1 - alpha));
  out.interval = {estimate - half, estimate + half};
  out.equivalent = equivalent_within(out.interval, delta);
  return out;
}

Outcome<Tost> tost_paired(std::span<const double> d, double delta, double alpha) {
  const auto t = paired_t(d, 0.95);
  if (!t) return Outcome<Tost>::undefined(t.reason);
  return tost(t->mean, t->se, t->df, delta, alpha);
}

std::string_view effect_verdict_name(EffectVerdict verdict) {
  switch (verdict) {
    case EffectVerdict::kDifferent: return "different";
    case EffectVerdict::kEquivalent: return "equivalent";
    case EffectVerdict::kBoth: return "both";
    case EffectVerdict::kUndecided: break;
  }
  return "undecided";
}

bool equivalent_within(const Interval& interval90, double delta) {
  require_positive(delta, "equivalence margin");
  return interval90.low > -delta && interval90.high < delta;
}

EffectVerdict effect_verdict(const Interval& interval95, const Interval& interval90, double delta) {
  const bool different = interval95.low > 0 || interval95.high < 0;
  const bool equivalent = equivalent_within(interval90, delta);
  if (different) return equivalent ? EffectVerdict::kBoth : EffectVerdict::kDifferent;
  return equivalent ? EffectVerdict::kEquivalent : EffectVerdict::kUndecided;
}

NonInferiority non_inferiority(const Interval& drop90, double tau) {
  require_positive(tau, "non-inferiority margin");
  if (drop90.high <= tau) return NonInferiority::kYes;
  return drop90.low > tau ? NonInferiority::kNo : NonInferiority::kUnresolved;
}

}  // namespace fare::stats
