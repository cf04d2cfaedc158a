// Paired t: the classical interval of a mean difference, and what pairing gains.
#pragma once

#include <span>
#include <vector>

#include "fare/stats/outcome.h"

namespace fare::stats {

struct PairedT {
  double mean = 0;
  double sd = 0;  // Of the differences, divisor n - 1.
  double se = 0;
  double t = 0;
  double df = 0;  // n - 1
  double p = 1;   // Two-sided.
  Interval interval;
  double dz = 0;
  Outcome<double> dz_hedges = Outcome<double>::undefined("fewer than 3 differences");
};
// Undefined for fewer than 2 differences or when they do not vary.
Outcome<PairedT> paired_t(std::span<const double> d, double confidence);

// a - b, item by item. Throws UsageError on unequal lengths.
std::vector<double> differences(std::span<const double> a, std::span<const double> b);

struct PairingGain {
  Outcome<double> correlation = Outcome<double>::undefined("not computed");
  double unpaired_se = 0;  // sqrt((var a + var b) / n)
  double paired_se = 0;
};
// Undefined for fewer than 2 items.
Outcome<PairingGain> pairing_gain(std::span<const double> a, std::span<const double> b);

}  // namespace fare::stats
