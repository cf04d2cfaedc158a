// Equivalence and non-inferiority (methods F6). TOST: Schuirmann 1987.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "fare/stats/outcome.h"

namespace fare::stats {

struct Tost {
  double t_lower = 0;       // (mean + delta) / se
  double t_upper = 0;       // (mean - delta) / se
  double p_lower = 1;       // P(T >= t_lower): non-inferiority
  double p_upper = 1;       // P(T <= t_upper)
  double p = 1;             // The larger of the two.
  Interval interval;        // At confidence 1 - 2 alpha: 90% for alpha 0.05.
  bool equivalent = false;  // The interval lies strictly inside (-delta, delta).
};
// From an estimate, its standard error and degrees of freedom (clusters - 1; empty = normal). Undefined when se is 0:
// use exact bounds. Throws UsageError unless delta > 0 and 0 < alpha < 1/2.
Outcome<Tost> tost(double estimate, double se, std::optional<double> df, double delta, double alpha);
// Paired t on the differences. Undefined for fewer than 2 or when they do not vary.
Outcome<Tost> tost_paired(std::span<const double> d, double delta, double alpha);

// All four outcomes can happen and are printed.
enum class EffectVerdict {
  kDifferent,   // The 95% interval excludes 0, and the 90% one is not inside the margin.
  kEquivalent,  // The 90% interval lies in (-delta, delta), and 0 is not excluded.
  kBoth,        // Tiny but certain.
  kUndecided,   // Neither: under-powered. Print the minimum detectable effect.
};
std::string_view effect_verdict_name(EffectVerdict verdict);  // "different", "equivalent", "both", "undecided"
EffectVerdict effect_verdict(const Interval& interval95, const Interval& interval90, double delta);

bool equivalent_within(const Interval& interval90, double delta);

enum class NonInferiority {
  kYes,  // One-sided 95% upper bound of the drop <= tau.
  kNo,   // One-sided 95% lower bound of the drop > tau.
  kUnresolved,
};
// `drop90`: 90% interval of the drop (its ends are the one-sided 95% bounds), in the units of tau.
NonInferiority non_inferiority(const Interval& drop90, double tau);

}  // namespace fare::stats
