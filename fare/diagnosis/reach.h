// How far routing can be pushed at all (methods A6): static bias by two optimisers, token-conditional control, a
// trained router, and the best of sampled routes. What is found is the best of these searches, never a proof.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/reach_searches.h"

namespace fare {

// The oracle of A6(d) on one split: shift where both critical rows of each pair take the best of the first R routes.
struct OracleCurve {
  std::vector<int64_t> draws;
  std::vector<Shift> shifts;  // parallel; empty when not run
  std::string reason;         // why not
};

struct Reach {
  UpperBounds bounds;  // candidates and points for the verdict
  ReachFound found;    // by the searches
  OracleCurve oracle_train, oracle_validation;
};

// Runs every search on train, chooses among its snapshots on validation, and measures the chosen ones on both. `signs`
// per axis. Looks at no test item.
Reach search_reach(Measurer& measurer, const SearchResult& search, const RouterProfile& profile,
                   const std::vector<int>& signs, const ReachOptions& how, const DiagnosisOptions& options);

// Train and validation values of what was chosen, in the store as every other outcome, and candidates for the verdict:
// the best pick of each optimiser of a static bias, of all conditional searches and of router-only training. `complete`
// stays empty.
UpperBounds measure_points(OutcomeSource& source, const std::vector<ReachPick>& picks, const std::vector<int>& signs,
                           const DiagnosisOptions& options);

// The oracle on any pairs, for train and validation and, once it is open, test. Its margins are kept in the store under
// `label`.
OracleCurve measure_oracle(Measurer& measurer, std::span<const int64_t> pairs, const std::vector<int>& signs,
                           const ReachOptions& how, const DiagnosisOptions& options, const std::string& label);

// "reach" of report.json: the rows, what was searched, the detectors, the oracle's curve and what the numbers mean.
OrderedJson reach_json(const SearchResult& search, std::span<const Shift> candidate_shift, const Reach& reach,
                       std::span<const Shift> point_shift, const OracleCurve& oracle_test,
                       const Thresholds& thresholds);

}  // namespace fare
