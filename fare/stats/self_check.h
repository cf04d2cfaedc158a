// Checks of this build's statistics on data made up on the spot: the random generator's known answers, and how often
// each test rejects a true null. Run at start-up (well under a second); a failure means that no p-value of this build
// counts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fare::stats {

struct SelfCheckOptions {
  uint64_t seed = 0;
  int64_t simulations = 1000;  // Null data sets per test.
  double confidence = 0.999;   // Of the Wilson interval around the observed rate: about one false alarm in 60 seeds.
  int num_threads = 1;
};

struct SelfCheck {
  std::string name;  // "philox known answers", "false positives: exact McNemar", ..
  bool passed = false;
  double value = 0;     // Observed rate of rejection (generator: share of known answers met).
  double expected = 0;  // Rate it should have: 0.05, or what a discrete test can attain.
  double low = 0;       // Wilson interval of the observed rate; it must hold `expected`.
  double high = 0;
  double slack = 0;  // How far `expected` may lie outside: 0 for exact tests, 0.02 for the bootstrap interval, which
                     // rejects a little too often by its nature (about 0.06 with 60 clusters).
};

// Throws UsageError unless there are at least 100 simulations.
std::vector<SelfCheck> run_self_checks(const SelfCheckOptions& options);

bool all_passed(const std::vector<SelfCheck>& checks);

}  // namespace fare::stats
