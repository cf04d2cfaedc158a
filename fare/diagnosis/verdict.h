// From measured numbers to the stage ladder and the headline (methods A10). Pure: no model, no data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/options.h"

namespace fare {

enum class Answer { kYes, kNo, kUnresolved, kNotRun };
std::string answer_name(Answer answer);  // "yes", "no", "unresolved", "not_run"

// One rung of the ladder for one candidate. Empty numbers carry a reason in the report.
struct StageRow {
  std::string candidate;
  std::string control_class = "static";
  int stage = 0;
  std::string name;
  Answer answer = Answer::kNotRun;
  std::string statistic;
  std::optional<double> value;
  std::optional<stats::Interval> interval;
  double level = 0.95;
  std::string unit;
  std::optional<double> limit;
  std::optional<double> p, p_bh;
  std::optional<int64_t> family_size;
  std::optional<int64_t> n;
  std::optional<double> n_eff, mde;
  std::string mde_reason;  // why mde is empty
  std::string split;
  std::string reason;  // why this answer
};

// What stage 1 found (sensitivity.h fills it); candidate is left empty.
using SensitivityAnswer = StageRow;

// One robustness check r1..r6: none = not run.
struct CheckOutcome {
  std::string check;
  std::optional<bool> passed;
};

// A utility margin to hold: the pooled utility, TruthfulQA MC1, ..
struct UtilityMargin {
  std::string task;
  Drop drop;  // on the test split; interval90 at 1 - 2 alpha / C
  double tau_pp = 1;
  int64_t needed_items = 299;  // to be able to say yes, printed before the test split was opened
};

// One primary generation metric of a candidate against the base model (methods A11).
struct TransferMetric {
  std::string metric;                      // "M0", "M1", ..
  double value = 0;                        // positive = better than the base model
  stats::Interval interval95, interval90;  // interval90 at 1 - 2 alpha / C for C candidates of the class
  std::string unit = "pp";  // "pp", held against delta_G; "SD" (M3), held against Thresholds::transfer_sd
  double p = 1, p_bh = 1;   // two-sided
  int64_t family_size = 1;
  int64_t n = 0;  // prompts
  double n_eff = 0;
  std::optional<double> mde;  // in `unit`
  std::string mde_reason;
};

// What stage 5 reads.
struct TransferEvidence {
  std::vector<TransferMetric> metrics;  // the primary ones that were run
  std::string not_run;                  // names the others and why, for the stage's reason; may be empty
};

struct CandidateEvidence {
  std::string name;
  std::string control_class = "static";
  Shift shift;      // test split
  double p_bh = 1;  // of r1, over the primary family
  int64_t family_size = 1;
  std::vector<CheckOutcome> checks;  // r1..r6
  std::vector<UtilityMargin> utility;
  std::optional<TransferEvidence> transfer;  // none: generation transfer was not measured
  std::string transfer_reason;               // why not
};

// What stands behind a "no" of stage 2: one-sided 95% upper bounds of the test shift of every search of the class.
struct ReachBound {
  std::string search;  // "a5_reach", "a6_gradient", ..
  double upper_pp = 0;
};

struct Evidence {
  BiasLevel bias;  // all pairs, primary scoring
  SensitivityAnswer sensitivity;
  std::vector<CandidateEvidence> candidates;  // in the order fixed on validation
  bool small_profile = true;
  std::string no_utility = "no utility items were given";  // why candidates have no drop, where they have none
  // Per control class, where every search that methods A10 asks for was run: static: the A5 reach point and both
  // optimisers of A6(a); conditional: I7a to I7c; router_only: the restarts. A class that is absent never gets a "no"
  // at stage 2.
  std::map<std::string, std::vector<ReachBound>> bounds;
  // A preference planted into the same model that the diagnosis found with as many pairs (positive_control.h); none: no
  // such control was run, or it was not found.
  std::optional<double> planted_pp;
};

// The control classes, in the order of the report; the headline is that of the first.
inline constexpr const char* kControlClasses[] = {"static", "conditional", "router_only"};

struct Headline {
  std::string control_class = "static";
  std::string code;  // as in the report: "controllable", "unresolved", ..
  std::string sentence;
  std::string candidate;         // the one that got furthest
  std::optional<int> stage;      // where it stopped; none when all answers are yes
  std::optional<double> mde_pp;  // of that stage, where the code is "unresolved"
  std::string mde_reason;
  int settings = 27, same = 27;  // in how many settings of the margins the code stays
};

struct Verdict {
  std::vector<StageRow> stages;  // six per candidate, in candidate order
  Headline headline;             // of static control
  std::vector<Headline> others;  // of the other classes that have candidates; `same` is that of the static one
};

// Which metric speaks for stage 5: of those that make it a yes the largest; else the worst that is worse beyond chance;
// else the one furthest from equivalence. `alpha`: that of the candidate, alpha / C. Null when `metrics` is empty.
const TransferMetric* deciding_metric(const TransferEvidence& evidence, const Thresholds& thresholds, double alpha);

// Stages and headline at the thresholds given, one verdict per control class; also counts in how many of the 27
// settings of methods A10 the code stays.
Verdict decide(const Evidence& evidence, const Thresholds& thresholds);

// "headline", "verdicts" and a row of "stages" of report.json. `notes`: sentences that must stand beside the headline.
OrderedJson headline_json(const Headline& headline, const Evidence& evidence, const Thresholds& thresholds,
                          const std::vector<std::string>& notes);
OrderedJson verdicts_json(const Verdict& verdict);
OrderedJson stage_json(const StageRow& row);

}  // namespace fare
