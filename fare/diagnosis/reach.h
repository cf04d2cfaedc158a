// How far routing can be pushed at all (methods A6): static bias by two optimisers, token-conditional control, a trained
// router, and the best of sampled routes. What is found is the best of these searches, never a proof.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/reach_detector.h"
#include "fare/diagnosis/reach_routes.h"
#include "fare/diagnosis/reach_search.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/search.h"

namespace fare {

// The defaults are those of the full profile.
struct ReachOptions {
  ReachSteps gradient, perturbation, conditional;
  int64_t random_restarts = 3;             // beside 0 and the winner of the grid
  bool from_winner = true;
  std::vector<int64_t> ranks = {1, 2, 4};  // of I7c
  int64_t following = 8;                   // tokens after a demographic one that I7a touches
  int64_t pairs_per_step = 32, utility_per_step = 32;
  std::vector<RouterTraining> router;      // restarts of the trained router
  std::vector<int64_t> oracle_draws = {1, 2, 4, 8, 16, 32};
  int64_t choice_pairs = 0, choice_utility = 0;  // validation items by which snapshots are chosen; 0 = all

  static ReachOptions of(StudyProfile profile, uint64_t seed);
};

// The oracle of A6(d) on one split: shift where both critical rows of each pair take the best of the first R routes.
struct OracleCurve {
  std::vector<int64_t> draws;
  std::vector<Shift> shifts;  // parallel; empty when not run
  std::string reason;         // why not
};

struct Reach {
  UpperBounds bounds;                // candidates and points for the verdict
  std::vector<Detector> detectors;   // of I7b
  struct Restart {
    double learning_rate = 0, preference_accuracy = 0, adoption = 0;
  };
  std::vector<Restart> router_restarts;
  OracleCurve oracle_train, oracle_validation;
  std::vector<std::string> searched; // one sentence per search: what was tried
};

// Runs every search on train, chooses among its snapshots on validation, and measures the chosen ones on both. `signs` per
// axis. Looks at no test item.
Reach search_reach(Measurer& measurer, const SearchResult& search, const RouterProfile& profile, const std::vector<int>& signs,
                   const ReachOptions& how, const DiagnosisOptions& options);

// The oracle on any pairs, for train and validation and, once it is open, test.
OracleCurve measure_oracle(const Measurer& measurer, std::span<const int64_t> pairs, const std::vector<int>& signs,
                           const ReachOptions& how, const DiagnosisOptions& options, const std::string& label);

// "reach" of report.json: the rows, what was searched, the detectors, the oracle's curve and what the numbers mean.
OrderedJson reach_json(const SearchResult& search, std::span<const Shift> candidate_shift, const Reach& reach,
                       std::span<const Shift> point_shift, const OracleCurve& oracle_test, const Thresholds& thresholds);

}  // namespace fare
