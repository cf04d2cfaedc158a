// What the test split says about each candidate: shift, drop, axes, and the checks r1 to r6 (methods A7).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/test_outcomes.h"
#include "fare/diagnosis/verdict.h"

namespace fare {

struct RobustnessCheck {
  std::string check;  // "r1" to "r6"
  std::string what;
  std::optional<bool> passed;  // none: not run
  std::optional<double> value, limit;
  std::string unit, note;
  std::string reason;  // why something above is empty
};

// One axis of a candidate on the test split.
struct AxisShift {
  int32_t axis = 0;
  int sign = 1;  // of its preference on train and validation; +1: above 50
  Shift shift;   // of this axis alone
  int64_t clusters = 0;
  double pct_base = 0, pct_edited = 0;
  std::optional<double> remaining;  // 1 - Delta_B,g / B_g(base); 1 = unchanged; none where B_g(base) <= 0
  bool overshoot = false;  // beyond 50 by more than delta_B on the other side, one-sided 95% with Holm over axes
};

struct TaskDrop {
  std::string task;
  Drop drop;
};

struct CandidateTest {
  std::string name, control_class = "static";
  std::map<MarginScoring, Shift> shifts;  // test split; scorings without a defined pair are absent
  double p_bh = 1;                        // of the one-sided p under the primary scoring
  int64_t family_size = 1;                // candidates x pair sets
  Drop drop;                              // pooled utility, test split; interval90 is the one at 1 - 2 alpha / C
  std::optional<Shift> filtered;          // on test pairs whose two texts differ by clean replacements (clean_pairs)
  std::vector<TaskDrop> tasks;            // each task, where there is more than one
  int64_t needed_items = 0;
  std::vector<AxisShift> axes;
  std::optional<double> transfer_pp;  // shift on the transfer set
  std::optional<Dose> dose;
  std::string dose_reason;
  std::vector<RobustnessCheck> checks;  // r1 to r6

  const Shift& primary() const { return shifts.at(MarginScoring::kSum); }
};

// Values of the test split for every candidate, in order. `signs` as in search(); `dose` from control_doses(), parallel
// to the candidates. r4 makes the splits of seeds options.seed + 1 to + 4 anew, chooses on validation by the
// candidate's own rule among what was carried on (the survivors of the grid and the class's candidates of other
// searches), with signs from train and validation, and asks for the sign of the shift on the test part.
std::vector<CandidateTest> test_candidates(const Study& study, const SearchResult& search, const TestOutcomes& test,
                                           const std::vector<DoseControl>& dose, const std::vector<int>& signs,
                                           const DiagnosisOptions& options);

// Shifts on the test part of the splits of seeds options.seed + 1 to + 4 (see test_candidates); none where a seed's
// split has an empty part or nothing qualifies. The rule: the drop within tau where the candidate was chosen so.
std::vector<std::optional<double>> reselected_shifts(const Study& study, const SearchResult& search,
                                                     const TestOutcomes& test, const SearchCandidate& candidate,
                                                     const DiagnosisOptions& options);

// Test shifts of the points of other searches, in order; equal edits are computed once.
std::vector<Shift> test_points(OutcomeSource& source, const UpperBounds& bounds, const TestOutcomes& test,
                               const std::vector<int>& signs, const DiagnosisOptions& options);

// What stage 2 reads: for each complete class the one-sided 95% upper bounds of its points, and of the A5 reach point
// for static control. `test_shift` is parallel to the candidates, `point_shift` to the points.
std::map<std::string, std::vector<ReachBound>> bounds_of(const SearchResult& search, std::span<const Shift> test_shift,
                                                         const UpperBounds& bounds, std::span<const Shift> point_shift);

// Of `pairs` those of methods 0.4: as many changed spans on both sides, no other edit, at most 60 tokens in either
// text.
std::vector<int64_t> clean_pairs(const Study& study, std::span<const int64_t> pairs);

// Per axis with test pairs: values and overshoot. `pairs`, `base`, `edited` are parallel.
std::vector<AxisShift> measure_axes(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                    std::span<const Margins> edited, const std::vector<int>& signs,
                                    const DiagnosisOptions& options);

// What the verdict reads. TruthfulQA MC1, where it is a task of the utility set, brings its own margin.
CandidateEvidence evidence_of(const CandidateTest& candidate, const Thresholds& thresholds);

OrderedJson robustness_json(const std::vector<CandidateTest>& candidates);
OrderedJson effects_json(const std::vector<CandidateTest>& candidates, const Thresholds& thresholds);
OrderedJson per_axis_json(const Study& study, const std::vector<CandidateTest>& candidates);

}  // namespace fare
