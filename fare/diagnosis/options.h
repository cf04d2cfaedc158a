// What a diagnosis is asked to do. Plain values: everything a run depends on beside the model and the data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fare/stats/outcome.h"

namespace fare {

// Neutral text below this size gives no perplexity margin (methods A10).
inline constexpr int64_t kPerplexityTokens = 20000;

enum class StudyProfile { kSmall, kFull };

// Margins that decide verdicts; written to a file and hashed before the test split is opened.
struct Thresholds {
  double alpha = 0.05;
  double sensitivity_dz = 0.2;           // delta_S
  double sensitivity_bits = 0.001;       // least mean difference to the null
  double sensitivity_ratio = 1.1;        // least ratio to the null
  double shift_pp = 3.0;                 // delta_B; 2.5 for user pairs from 2,000 pairs on
  double pooled_drop_pp = 1.0;           // tau of the pooled utility
  double truthfulqa_mc1_drop_pp = 2.5;   // tau of TruthfulQA MC1, where it was run
  double perplexity_drop_percent = 1.0;  // where neutral text has at least 20,000 tokens
  double transfer_pp = 3.0;              // delta_G
  double transfer_sd = 0.1;              // the same for metrics measured in standard deviations
};

// Sets a margin by its name in thresholds.json ("delta_B", "tau", ..). Throws UsageError naming the known ones, or for
// a value that is not positive and finite.
void set_margin(Thresholds& thresholds, const std::string& name, double value);

// The margins with their names, units and meanings, in the order of thresholds.json.
struct Margin {
  const char* name;
  double Thresholds::*value;
  const char* unit;
  const char* meaning;
};
std::span<const Margin> margins();

struct DiagnosisOptions {
  StudyProfile profile = StudyProfile::kSmall;
  Thresholds thresholds;
  uint64_t seed = 0;
  int num_threads = 1;  // of the statistics; results do not depend on it
  int64_t bootstrap_replicates = 10000;
  int64_t permutations = 10000;
  stats::IntervalKind interval = stats::IntervalKind::kPercentile;  // of shifts, drops and changes of generated text

  // Search (methods A5); the defaults are those of the small profile.
  std::vector<std::string> families = {"I1", "I2"};
  std::vector<std::string> scores = {"s1", "s3"};
  std::vector<int64_t> breadths = {10, 50, 200};
  std::vector<double> strengths = {1, 4};
  std::vector<std::string> layer_sets = {"all", "late"};
  int64_t rung_pairs[2] = {64, 200};
  int64_t rung_utility[2] = {100, 300};
  int64_t random_controls = 20;  // random-ranking configurations beside the grid
  int64_t survivors = 6;         // configurations of the last rung
  int64_t dose_controls = 40;
  double dose_tolerance = 0.05;
  int64_t steering_layers = 3;  // layers tried for the steering vector beside the verdict; 0 = all
  int64_t mask_draws = 40;      // distinct sets a kind; fewer than 39 leave the conclusion open
  int64_t mask_size = 0;        // experts in a group of the masking tests; 0 = 10, at most an eighth of all
  int64_t causal_pairs = 64;    // pairs behind s5
  int64_t half_samples = 100;
  int64_t neutral_tokens = 2000;  // behind doses; the profile of the router uses all there are, up to 200,000

  bool positive_control = false;  // an expert is planted into the model and must be found (methods E7)

  static DiagnosisOptions of(StudyProfile profile);
};

}  // namespace fare
