// The search for a static routing control on the validation split (methods A5): grid, successive halving, front, the
// points carried to the test split. Nothing here looks at a test item.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/candidates.h"
#include "fare/diagnosis/halving.h"
#include "fare/diagnosis/outcome_source.h"

namespace fare {

// A configuration and what the rungs it reached said about it. Numbers are of its last rung.
struct SearchRow {
  Configuration configuration;
  std::string name;                   // configuration_name
  std::vector<ChosenExpert> experts;
  Intervention intervention;
  int rung = 1;                       // last one reached, 1 to 3
  int64_t pairs = 0, utility_items = 0;
  double shift_pp = 0, first_shift_pp = 0;  // first_: on the items of rung 1, the same for all configurations
  stats::Interval shift_interval;     // 95%
  double shift_se_pp = 0;
  std::optional<double> drop_pp;      // none when validation holds no utility item
  std::optional<stats::Interval> drop_interval;
  double drop_se_pp = 0, drop_discordance = 0;
  std::optional<Dose> dose;           // last rung only
  std::string dose_reason;
  std::optional<double> worst_axis_remaining;  // max over axes of b_g; axes without bias on validation have none
  bool no_effect = false;
};

struct SearchRung {
  int rung = 1;
  int64_t pairs = 0, utility_items = 0, entered = 0, kept = 0;  // kept: go on, or are survivors
};

// Carried to the test split. Order is fixed here: within tau first.
struct SearchCandidate {
  std::string name;       // "within-tau" or "reach": also the name of its intervention file
  std::string role;       // "best within tau" or "reach"
  size_t row = 0;         // index into rows
  bool within_tau = false;
  Intervention intervention;   // that of the row, under the candidate's name
  int64_t needed_items = 0;    // utility items to be able to say "affordable", from the discordance on validation
};

struct SearchResult {
  std::vector<SearchRow> rows;        // eligible ones first, then random-ranking controls; row i has id i
  std::vector<SearchRung> rungs;      // three
  std::vector<size_t> survivors;      // eligible rows of the last rung
  std::vector<size_t> random_survivors;
  std::vector<size_t> front, random_front;  // rows of the last rung, by rising drop
  std::optional<size_t> pure;         // smallest worst axis within tau (methods A5, solution 1)
  std::optional<size_t> reach;        // largest shift, drop ignored
  struct Effort {
    int64_t budget = 0;
    double shift_pp = 0;              // expected best of that many configurations on the items of rung 1
  };
  std::vector<Effort> expected_best;
  std::vector<SearchCandidate> candidates;
};

// b_g = |1 - Delta_B,g / B_g(base)| clipped to [0, 2], the largest over axes; none when no axis has B_g(base) > 0 on these
// pairs. Margins are parallel to `pairs`; `signs` per axis.
std::optional<double> worst_remaining(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                      std::span<const Margins> edited, const std::vector<int>& signs);

// `signs`: per axis, fixed on train and validation (BaseBias::signs). Intervals of the log come from 1,000 resamples.
// Throws NumericError when the validation split holds no pair.
SearchResult search(OutcomeSource& source, const ExpertScores& scores, const RouterProfile& profile,
                    const std::vector<int>& signs, const DiagnosisOptions& options);

// A row as choose_best and front_of read it.
Standing standing_of(const SearchRow& row);

// "candidates" of report.json. File names are interventions/NAME.json.
OrderedJson candidates_json(const SearchResult& search);

// "search": the test values (one per candidate, in order; empty before the test split was opened) give the optimism.
OrderedJson search_json(const SearchResult& search, std::span<const double> test_shift_pp);

// "reach": the A5 row from the reach candidate's test shift, the other bounds null with the reason.
OrderedJson reach_json(const SearchResult& search, std::span<const Shift> test_shift);

}  // namespace fare
