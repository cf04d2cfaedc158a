// What a sample could have seen: minimum detectable effects, reachable equivalence margins, items needed (methods F5,
// F6). Normal approximation; `sd` is the SD of paired differences, sqrt(p_d) for yes/no outcomes (variance at the
// null). `n` is the effective number of items (clusters.h). Printed next to every null result.
#pragma once

#include <cstdint>

#include "fare/stats/outcome.h"

namespace fare::stats {

struct PowerLevels {
  double alpha = 0.05;  // Two-sided for the detectable effect; one-sided for margins.
  double power = 0.8;
};

// (z_{1-alpha/2} + z_{power}) sd / sqrt(n). Undefined for n <= 0.
Outcome<double> minimum_detectable_effect(double sd, double n, const PowerLevels& levels = {});

// The same for yes/no outcomes of which a share `discordance` changes. Undefined (unattainable) where it exceeds the
// discordance, and when nothing changes (its variance is then unknown, not 0).
Outcome<double> minimum_detectable_shift(double discordance, double n, const PowerLevels& levels = {});

// Smallest margin within which equivalence can be shown with the given power if the true difference is 0:
// (z_{1-alpha} + z_{1-(1-power)/2}) sd / sqrt(n). Undefined for n <= 0.
Outcome<double> smallest_equivalence_margin(double sd, double n, const PowerLevels& levels = {});

// Least n at which `effect` is detected with the given power.
int64_t items_needed(double sd, double effect, const PowerLevels& levels = {});

// Least n at which a true drop of 0 is shown to be at most `tau` with the given power (default 95%: about 108,000 times
// the discordance at 1 pp), never fewer than bounding by exact limits takes (299 at 1 pp). `discordance` in [0, 1].
int64_t items_for_non_inferiority(double discordance, double tau, const PowerLevels& levels = {0.05, 0.95});

}  // namespace fare::stats
