// Second part of the calibration (methods E5): search, dose control, test split and verdict on control models, hundreds
// of times with noise and splits drawn anew.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fare/calibration/prepared_model.h"
#include "fare/calibration/rate.h"

namespace fare {

class KeptCells;

// One kind of model at one number of pairs.
struct PipelineCell {
  uint64_t number = 0;  // in the whole design: decides its draws
  std::string kind;     // "X1", .., or "noise": X10n with a planted shift and p_d of noise
  std::string weights = "renormalised";
  int64_t pairs = 754;
  int64_t replicates = 100;
  double shift_pp = 0, flips = 0;  // of "noise"

  std::vector<std::string> right;  // verdicts that are right without generation: CODE or "unresolved at stage N"
  std::map<std::string, int64_t> verdicts;
  Rate as_expected;                            // the verdict is one of `right`
  Rate passed_all;                             // stages 0, 2, 3 and 4 are yes: controllable, but for generated text
  Rate rejected;                               // some candidate has p_BH <= 0.05
  Rate covered;                                // first candidate: its expected shift lies in the 95% interval
  double mean_shift_pp = 0, mean_true_pp = 0;  // first candidate
  Rate reached;                                // some candidate's shift is at least delta_B
  EngineCheck engine;
  double seconds = 0;
  std::string failure;  // why the cell was given up; empty: it ran through
};

struct PipelineDesign {
  std::vector<PipelineCell> cells;
  int64_t inner = 999;
  stats::IntervalKind interval = stats::IntervalKind::kPercentile;
  uint64_t seed = 0;
  int num_threads = 1;
};

// Fills in the cells. One that fails keeps its reason; the others go on. Those that `kept` holds are not run again, and
// those that finish are put there. Throws Interrupted.
void run_pipeline_cells(PipelineDesign& design, const KeptCells& kept, const Progress& progress);

OrderedJson pipeline_json(const std::vector<PipelineCell>& cells);
OrderedJson confusion_json(const std::vector<PipelineCell>& cells);

}  // namespace fare
