// Paired permutation test of any statistic: the two arms of a unit are exchanged or not (what sign flips are for a
// mean). H0: within a unit it does not matter which arm is which.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/stats/bootstrap.h"
#include "fare/stats/outcome.h"

namespace fare::stats {

struct SwapTest {
  // Two-sided, (1 + extreme) / (1 + defined draws), never 0. Undefined when the statistic of the data is, or more than
  // 1% of the draws are.
  Outcome<double> p = Outcome<double>::undefined("not computed");
  int64_t extreme = 0;        // Draws at least as far from 0 as the data (within 1e-12).
  int64_t num_undefined = 0;  // Draws without a value: dropped and counted.
};

// `arms`: of each unit's columns the first half is one arm, the second half the other. `statistics` reads the totals of
// both halves and should be 0 on average under H0: a difference of the arms. Draw r exchanges unit u when bit u of its
// stream is 1
// (`options.replicates` draws, label "permutation/swap/.."). Throws UsageError on an odd number of columns.
std::vector<SwapTest> swap_tests(const UnitTable& arms, int64_t num_statistics, const Statistics& statistics,
                                 const ResampleOptions& options);

}  // namespace fare::stats
