// McNemar's test for paired yes/no outcomes, its odds ratio, and its power. Mid-p: Fagerland, Lydersen, Laake 2013.
#pragma once

#include <cstdint>
#include <string>

#include "fare/stats/outcome.h"

namespace fare::stats {

struct McNemar {
  int64_t b = 0;       // Items that changed one way.
  int64_t c = 0;       // Items that changed the other way.
  double exact_p = 1;  // The headline.
  double mid_p = 1;    // Printed beside it: the exact test is conservative.
  Outcome<double> chi2 = Outcome<double>::undefined("no item changed");     // (b - c)^2 / (b + c), no correction.
  Outcome<double> chi2_p = Outcome<double>::undefined("no item changed");   // What Hugging Face `evaluate` prints.
  Outcome<double> chi2_cc = Outcome<double>::undefined("no item changed");  // With continuity correction.
  Outcome<double> chi2_cc_p = Outcome<double>::undefined("no item changed");
};
// Throws UsageError on negative counts.
McNemar mcnemar(int64_t b, int64_t c);

struct MatchedOddsRatio {
  Outcome<double> odds_ratio = Outcome<double>::undefined("c is 0");  // b / c
  double haldane = 1;                                                 // (b + 1/2) / (c + 1/2)
  double low = 0;                                                     // Exact limits x / (1 - x), x of Clopper-Pearson.
  Outcome<double> high = Outcome<double>::undefined("no finite upper limit: c is 0");
  double cohens_g = 0;  // b / (b + c) - 1/2
};
// Undefined when b + c = 0.
Outcome<MatchedOddsRatio> matched_odds_ratio(int64_t b, int64_t c, double confidence);

enum class McNemarVariant { kExact, kMidP };

// Probability of rejecting at `alpha` with n items of which a share p10 changes one way and p01 the other, exactly.
// Throws UsageError unless 0 <= p10, p01, p10 + p01 <= 1.
double mcnemar_power(int64_t n, double p10, double p01, double alpha, McNemarVariant variant);

struct SimulatedPower {
  int64_t rejections = 0;
  int64_t simulations = 0;
  double power = 0;
};
struct PowerSimulation {
  uint64_t seed = 0;
  std::string label = "power/mcnemar";
  int64_t simulations = 2000;
  McNemarVariant variant = McNemarVariant::kMidP;
  int num_threads = 1;
};
// The same by simulation: replicate = simulation, draw i = item i, u < p10 counts for b, u < p10 + p01 for c.
SimulatedPower simulate_mcnemar_power(int64_t n, double p10, double p01, double alpha, const PowerSimulation& options);

}  // namespace fare::stats
