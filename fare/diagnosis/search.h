// The search for a static routing control on the validation split (methods A5): grid, successive halving, front, the
// points carried to the test split. Nothing here looks at a test item.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/candidates.h"
#include "fare/diagnosis/equilibrium.h"
#include "fare/diagnosis/halving.h"
#include "fare/diagnosis/outcome_source.h"

namespace fare {

// What an edit leaves of an axis's preference. Both levels count along the axis's sign: negative = beyond 50%.
struct AxisLevel {
  int64_t pairs = 0;
  double base_pp = 0, left_pp = 0;
  // b_g = |left / base| clipped to [0, 2]: 1 = unchanged; none where base_pp <= 0. On an axis with little preference of
  // its own a few pairs make it large.
  std::optional<double> remaining() const;
};

// A configuration and what the rungs it reached said about it. Numbers are of its last rung.
struct SearchRow {
  Configuration configuration;
  std::string name;  // configuration_name
  std::vector<ChosenExpert> experts;
  Intervention intervention;
  int rung = 1;  // last one reached, 1 to 3
  int64_t pairs = 0, utility_items = 0;
  double shift_pp = 0, first_shift_pp = 0;  // first_: on the items of rung 1, the same for all configurations
  stats::Interval shift_interval;           // 95%
  double shift_se_pp = 0;
  std::optional<double> drop_pp;  // none when validation holds no utility item
  std::optional<stats::Interval> drop_interval;
  double drop_se_pp = 0, drop_discordance = 0;
  std::optional<Dose> dose;  // last rung only
  std::string dose_reason;
  std::vector<AxisLevel> axes;                 // on the pairs of its last rung (axis_levels)
  std::optional<double> worst_axis_remaining;  // the largest that remains; none where no axis has one
  bool no_effect = false;
};

struct SearchRung {
  int rung = 1;
  int64_t pairs = 0, utility_items = 0, entered = 0, kept = 0;  // kept: go on, or are survivors
};

// Carried to the test split. Order is fixed on validation: within tau first.
struct SearchCandidate {
  std::string name;
  std::string control_class = "static";  // "static", "conditional", "router_only"
  std::string role;                      // "best within tau", "reach", ..
  std::string origin = "a5_grid";        // the search that found it: "a6_gradient", "a6_second_optimiser", ..
  std::string description;
  Intervention intervention;  // under the candidate's name
  std::optional<size_t> row;  // of the search log; none for other searches

  // What it is and what validation said. Of a row of the log filled by the search, else by whoever found it.
  std::string family;   // I1 to I8
  int64_t breadth = 0;  // experts touched
  double strength = 1;  // where the search for a direction of equal dose starts
  double validation_shift_pp = 0, validation_drop_discordance = 0;
  bool within_tau = false;
  std::optional<Dose> dose;
  std::string dose_reason;
  int64_t needed_items = 0;  // utility items to be able to say "affordable" (settle_candidates)

  // An intervention of the same kind and layers along a random direction at a strength; `draw` chooses the direction,
  // `restricted` draws it outside the candidate's experts. None when no such direction exists. Empty: the kind has no
  // strength that could be tuned to equal dose, and r3 is not met.
  std::function<std::optional<Intervention>(int64_t draw, bool restricted, double strength)> direction;
  double largest_strength = 1e4;
};

// A point whose one-sided upper bound on the test split bounds a class of control (methods A6, A10 stage 2).
struct ReachPoint {
  std::string bound;  // "a6_gradient", "conditional_tokens", ..
  std::string control_class = "static";
  std::string candidate;  // the one that is this point; may be empty
  Intervention intervention;
  bool needed_for_no = true;        // stage 2 of its class reads it
  std::string constraint = "none";  // "within_tau": found under the limit on the drop of utility
  std::optional<int64_t> breadth;   // experts touched
  std::optional<double> train_pp, validation_pp, validation_drop_pp;
  std::optional<Dose> dose;
  std::string dose_reason;
};

// What searches beyond the grid hand over.
struct UpperBounds {
  std::vector<SearchCandidate> candidates;  // appended to those of the grid
  std::vector<ReachPoint> points;
  std::vector<std::string> complete;  // classes all of whose searches were run: only these can get a "no"
};

// A change of one setting of the pure solution: its strength or breadth by one step of the grid, or its layer set.
struct OneStep {
  size_t row = 0;
  std::string change;                                   // "lambda 2", "k 30", "layers late"
  std::optional<double> worst_axis_remaining, drop_pp;  // on all of validation
};

// The solutions of the game over the last rung and the base model (equilibrium.h); row: none = the base model.
struct Equilibrium {
  std::vector<std::optional<size_t>> rows;  // of the points
  std::optional<Mixture> mixture;
  DualAscent ascent;
  std::vector<OneStep> one_steps;
  double best_one_step = 0;  // how much the best of them lowers the worst axis within tau; 0 where none does
  bool holds = false;        // gap and best_one_step at most kEquilibriumGap
};

// What the best of so many configurations would show on validation if none had an effect (methods F7).
struct SearchBias {
  int64_t configurations = 0, pairs = 0;
  double discordance = 0;  // mean over eligible configurations, on the items of rung 1
  double correlation = 0;  // mean over pairs of configurations, of their changes on these items
  double independent_pp = 0, correlated_pp = 0;
};

struct SearchResult {
  std::vector<SearchRow> rows;    // eligible ones first, then random-ranking controls; row i has id i
  std::vector<SearchRung> rungs;  // three
  std::vector<size_t> survivors;  // eligible rows of the last rung
  std::vector<size_t> random_survivors;
  std::vector<size_t> front, random_front;  // rows of the last rung, by rising drop
  std::optional<size_t> pure;               // smallest worst axis within tau (methods A5, solution 1)
  std::optional<size_t> reach;              // largest shift, drop ignored: the A5 reach point
  struct Effort {
    int64_t budget = 0;
    double shift_pp = 0;  // expected best of that many configurations on the items of rung 1
  };
  std::vector<Effort> expected_best;
  std::optional<Equilibrium> equilibrium;
  std::string equilibrium_reason;  // why there is none
  SearchBias bias;
  std::vector<SearchCandidate> candidates;
};

// Per axis of the study. Margins are parallel to `pairs`; `signs` per axis.
std::vector<AxisLevel> axis_levels(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                   std::span<const Margins> edited, const std::vector<int>& signs);

// `signs`: per axis, fixed on train and validation (BaseBias::signs). Intervals of the log come from 1,000 resamples.
// Throws NumericError when the validation split holds no pair.
SearchResult search(OutcomeSource& source, const ExpertScores& scores, const RouterProfile& profile,
                    const std::vector<int>& signs, const DiagnosisOptions& options);

// Appends the candidates of other searches and fills in what depends on how many there are: the utility items that
// stage 4 needs, at alpha / C for the C candidates of a class.
void settle_candidates(SearchResult& search, std::vector<SearchCandidate> others, const DiagnosisOptions& options);
int64_t candidates_of_class(const SearchResult& search, const std::string& control_class);

// A row as choose_best and front_of read it.
Standing standing_of(const SearchRow& row);

// "candidates" of report.json. File names are interventions/NAME.json.
OrderedJson candidates_json(const SearchResult& search);

// "search": the test values (one per candidate, in order; empty before the test split was opened) give the optimism.
// `axes`: their names.
OrderedJson search_json(const SearchResult& search, std::span<const double> test_shift_pp,
                        const std::vector<std::string>& axes);

}  // namespace fare
