// First part of the calibration (methods E5): a candidate that was fixed beforehand. Masking the two side experts of
// X10n takes away a known part of the preference and changes the noise of the pairs; intervals and tests are read off
// 2,000 such samples a cell.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/calibration/prepared_model.h"
#include "fare/calibration/rate.h"

namespace fare {

class KeptCells;

struct FixedDesign {
  std::vector<int64_t> pairs = {754, 1508, 5000};
  std::vector<double> shifts_pp = {0, 1, 2, 2.5, 3, 5, 10};
  std::vector<double> flips = {0.02, 0.10};  // p_d: share of pairs that change sign at shift 0
  int64_t replicates = 2000;
  int64_t inner = 999, repeated = 20,
          repeated_inner = 10000;  // resamples; replicates a cell repeated with more of them
  uint64_t seed = 0;
  int num_threads = 1;
  stats::IntervalKind interval = stats::IntervalKind::kPercentile;
};

struct FixedCell {
  uint64_t number = 0;  // in the design: decides its draws
  int64_t pairs = 0;
  double flips = 0;
  double shift_pp = 0;       // planted
  bool at_mde = false;       // the planted shift is the minimum detectable effect of methods F5
  double true_shift_pp = 0;  // expected over all draws of the noise
  double discordance = 0;    // expected share of pairs that change sign
  Rate rejected;             // r1: one-sided p <= 0.05
  Rate rejected_two_sided;
  Rate rejected_tanh;        // the 95% interval of the tanh margins excludes 0
  Rate covered;              // 95% interval
  Rate equivalent;           // 90% interval within +-delta_B
  Rate equivalent_at_shift;  // 90% interval within +-planted shift; none at shift 0
  Rate same_decision;        // of the repeated ones: r1 decides alike with more resamples
  double mean_shift_pp = 0, mean_mde_pp = 0;
  double seconds = 0;
  std::string failure;  // why the cell was given up; empty: it ran through
  EngineCheck engine;   // the model's own noise by forward passes: same p, same interval side of 0, margins
};

// Shift (pp) at which a paired test of `pairs` independent pairs has 80% power by F5, given the flips at shift 0.
double detectable_shift_pp(int64_t pairs, double flips, double bias, double deviation);

// A cell that fails stands in the list with its reason; the others go on. Those that `kept` holds are not run again,
// and those that finish are put there. Throws Interrupted.
std::vector<FixedCell> run_fixed_cells(const FixedDesign& design, const KeptCells& kept, const Progress& progress);

OrderedJson fixed_json(const std::vector<FixedCell>& cells);

}  // namespace fare
