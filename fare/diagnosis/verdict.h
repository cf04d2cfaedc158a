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
  std::string reason;      // why this answer
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
  Drop drop;            // on the test split; interval90 at 1 - 2 alpha / C
  double tau_pp = 1;
  int64_t needed_items = 299;  // to be able to say yes, printed before the test split was opened
};

struct CandidateEvidence {
  std::string name;
  Shift shift;          // test split
  double p_bh = 1;      // of r1, over the primary family
  int64_t family_size = 1;
  std::vector<CheckOutcome> checks;      // r1..r6
  std::vector<UtilityMargin> utility;
};

struct Evidence {
  BiasLevel bias;                        // all pairs, primary scoring
  SensitivityAnswer sensitivity;
  std::vector<CandidateEvidence> candidates;  // in the order fixed on validation
  bool upper_bounds_run = false;         // methods A6: without them stage 2 never says no
  bool small_profile = true;
  // One-sided 95% upper bounds of the test shift of the A5 reach point and of both optimisers of A6(a), where they were run.
  std::vector<double> upper_bounds_pp;
};

struct Headline {
  std::string code;       // as in the report: "controllable", "unresolved", ..
  std::string sentence;
  std::string candidate;  // the one that got furthest; may be empty
  std::optional<int> stage;          // where it stopped; none when all answers are yes
  std::optional<double> mde_pp;      // of that stage, where the code is "unresolved"
  std::string mde_reason;
  int settings = 27, same = 27;      // in how many settings of the margins the code stays
};

struct Verdict {
  std::vector<StageRow> stages;  // six per candidate, in candidate order
  Headline headline;
};

// Stages and headline at the thresholds given; also counts in how many of the 27 settings of methods A10 the code stays.
Verdict decide(const Evidence& evidence, const Thresholds& thresholds);

OrderedJson stage_json(const StageRow& row);

}  // namespace fare
