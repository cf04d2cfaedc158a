// From the search to masking on a control model whose stereotype sits in two experts (X1): what should be found is
// known.
#include <gtest/gtest.h>

#include <algorithm>

#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/masking.h"
#include "fare/diagnosis/reach.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/search.h"

namespace fare {
namespace {

// Names of fields that are null without a reason.
void collect_bare_nulls(const OrderedJson& json, const std::string& place, std::vector<std::string>& found) {
  if (json.is_array())
    for (size_t i = 0; i < json.size(); ++i) collect_bare_nulls(json[i], place + "[" + std::to_string(i) + "]", found);
  if (json.is_object())
    for (const auto& [key, value] : json.items()) {
      const auto reason = json.find(key + "_reason");
      if (value.is_null() && (reason == json.end() || !reason->is_string() || reason->get<std::string>().empty()))
        found.push_back(place + "." + key);
      collect_bare_nulls(value, place + "." + key, found);
    }
}

DiagnosisOptions small_options() {
  DiagnosisOptions options;
  options.bootstrap_replicates = 1000;
  options.permutations = 1000;
  options.dose_controls = 20;
  options.causal_pairs = 8;
  options.half_samples = 4;
  options.neutral_tokens = 1000;
  options.num_threads = 2;
  return options;
}

ControlOptions bigger_control() {
  ControlOptions options = small_control("X1");
  options.pairs = 400;
  options.utility = 700;
  return options;
}

TEST(ControlSearch, PlantedBiasIsFoundMatchedAndSeparated) {
  ControlStudy control(bigger_control());
  Measurer& measurer = *control.measurer;
  const Study& study = control.study;
  const DiagnosisOptions options = small_options();
  const RouterProfile profile = profile_router(measurer);
  const ExpertScores scores = score_experts(measurer, profile, options);
  const std::vector<int> signs = fitted_signs(measurer);

  SearchResult found = search(measurer, scores, profile, signs, options);
  settle_candidates(found, {}, options);
  ASSERT_EQ(found.rungs.size(), 3u);
  EXPECT_EQ(found.rungs[0].pairs, 64);
  EXPECT_EQ(found.rungs[0].utility_items, 100);
  EXPECT_EQ(found.rungs[0].entered, static_cast<int64_t>(found.rows.size()));
  EXPECT_EQ(found.rungs[2].pairs, static_cast<int64_t>(study.pairs_in(SplitPart::kValidation).size()));
  EXPECT_EQ(found.rungs[2].utility_items, static_cast<int64_t>(study.utility_in(SplitPart::kValidation).size()));
  EXPECT_FALSE(found.random_survivors.empty());
  EXPECT_EQ(found.expected_best.front().budget, 1);
  for (size_t i = 1; i < found.expected_best.size(); ++i)
    EXPECT_GE(found.expected_best[i].shift_pp, found.expected_best[i - 1].shift_pp - 1e-9);
  ASSERT_TRUE(found.equilibrium.has_value()) << found.equilibrium_reason;
  const Equilibrium& game = *found.equilibrium;
  ASSERT_TRUE(game.mixture.has_value());
  EXPECT_LE(game.mixture->value, *found.rows[*found.pure].worst_axis_remaining + 1e-9) << "a mixture is never worse";
  EXPECT_LE(game.ascent.dual_value, game.mixture->value + 1e-9);
  EXPECT_LE(game.ascent.gap, kEquilibriumGap);
  EXPECT_FALSE(game.one_steps.empty());
  EXPECT_EQ(found.bias.pairs, static_cast<int64_t>(study.pairs_in(SplitPart::kValidation).size()));
  EXPECT_GT(found.bias.independent_pp, 0);
  EXPECT_LE(found.bias.correlated_pp, found.bias.independent_pp);
  ASSERT_FALSE(found.candidates.empty());
  const SearchCandidate& best = found.candidates.front();
  // A drop of 0 in every item still needs 299 of them to be bounded by 1 pp.
  EXPECT_GE(best.needed_items, 299);
  EXPECT_EQ(best.role, "best within tau");
  EXPECT_TRUE(best.within_tau);
  const SearchRow& row = found.rows[*best.row];
  EXPECT_FALSE(row.configuration.random_ranking);
  EXPECT_GE(row.shift_pp, 5) << row.name;
  EXPECT_TRUE(row.dose.has_value());
  EXPECT_EQ(row.configuration.sign, 1) << "suppressing what favours the stereotype must be the way: " << row.name;

  // The rungs together measure what one evaluation of all of validation measures.
  Items validation;
  validation.part = "again";
  validation.pairs = study.pairs_in(SplitPart::kValidation);
  const Intervention* edit = &row.intervention;
  const Outcomes base = measurer.base(validation), edited = measurer.evaluate(validation, {&edit, 1}).front();
  EXPECT_NEAR(row.shift_pp, shift_pp(study, validation.pairs, base.pairs, edited.pairs, signs), 1e-9);

  const TestOutcomes test = open_test(measurer, found);
  const std::vector<DoseControl> doses = control_doses(measurer, found, test, signs, options);
  ASSERT_EQ(doses.size(), found.candidates.size());
  for (const DoseDraw& draw : doses[0].draws)
    EXPECT_NEAR(draw.match.dose_nats / *doses[0].dose_nats, 1, options.dose_tolerance);
  EXPECT_EQ(doses[0].passed, true) << doses[0].reason << " matched " << doses[0].matched << " of " << doses[0].tried;

  const std::vector<CandidateTest> tested = test_candidates(study, found, test, doses, signs, options);
  EXPECT_GE(tested[0].primary().value_pp, 4);
  EXPECT_LE(std::abs(tested[0].drop.value_pp), 1);
  ASSERT_EQ(tested[0].checks.size(), 6u);
  for (const RobustnessCheck& check : tested[0].checks)
    EXPECT_EQ(check.passed, true) << check.check << " " << check.note << check.reason;
  double mean_of_axes = 0;
  for (const AxisShift& axis : tested[0].axes)
    mean_of_axes += axis.shift.value_pp * static_cast<double>(axis.shift.n) / static_cast<double>(test.pairs.size());
  EXPECT_NEAR(mean_of_axes, tested[0].primary().value_pp, 1e-9);

  const Masking masking =
      mask_groups(measurer, scores, score_knowledge(measurer, options), profile, test, signs, options);
  EXPECT_EQ(masking.conclusion, "separable") << masking.sentence;
  EXPECT_EQ(masking.primary_m, 4);
  EXPECT_EQ(std::count_if(masking.subsets.begin(), masking.subsets.end(),
                          [](const MaskSubset& subset) { return subset.kind == MaskSubset::Kind::kSingle; }),
            4);
  EXPECT_LT(*masking.replay_gap_nats, 1e-5);

  OrderedJson report;
  report["candidates"] = candidates_json(found);
  report["search"] = search_json(found, {}, control.study.axes);
  std::vector<Shift> candidate_shifts;
  for (const CandidateTest& candidate : tested) candidate_shifts.push_back(candidate.primary());
  OracleCurve not_run;
  not_run.reason = "not run here";
  report["reach"] = reach_json(found, candidate_shifts, Reach{}, {}, not_run, options.thresholds);
  report["dose_control"] = dose_control_json(doses);
  report["robustness"] = robustness_json(tested);
  report["effects"] = effects_json(tested, options.thresholds);
  report["per_axis"] = per_axis_json(study, tested);
  report["masking"] = masking_json(masking);
  std::vector<std::string> bare;
  collect_bare_nulls(report, "report", bare);
  EXPECT_TRUE(bare.empty()) << bare.size() << " nulls without a reason, first " << bare.front();
  EXPECT_EQ(report.dump().find("nan"), std::string::npos);
}

// Outcomes made by hand: no model is run.
struct HandMade : testing::Test {
  Study study;
  std::vector<int64_t> pairs;
  std::vector<Margins> base, edited;

  // Four clusters of each axis' pairs; `after` of `n` prefer the stereotype once edited, all do before.
  void add_axis(const std::string& name, int n, int after) {
    const int32_t axis = static_cast<int32_t>(study.axes.size());
    study.axes.push_back(name);
    for (int i = 0; i < n; ++i) {
      pairs.push_back(static_cast<int64_t>(study.axis_of.size()));
      study.axis_of.push_back(axis);
      names_.push_back(name + std::to_string(i % 20));
      base.push_back({.sum = 1, .mean = 1});
      const double m = i < after ? 1 : -1;
      edited.push_back({.sum = m, .mean = m});
    }
    study.pair_clusters = stats::cluster_by_name(names_);
  }

 private:
  std::vector<std::string> names_;
};

TEST_F(HandMade, OvershootNeedsABoundBeyondTheMarginOnTheOtherSide) {
  add_axis("far", 400, 100);   // 25%: far beyond 47%
  add_axis("near", 400, 196);  // 49%
  add_axis("all", 400, 0);     // 0%, without variance
  DiagnosisOptions options = small_options();
  options.thresholds.shift_pp = 3;
  const auto axes = measure_axes(study, pairs, base, edited, {1, 1, 1}, options);
  ASSERT_EQ(axes.size(), 3u);
  EXPECT_TRUE(axes[0].overshoot);
  EXPECT_FALSE(axes[1].overshoot);
  EXPECT_TRUE(axes[2].overshoot);
  EXPECT_DOUBLE_EQ(axes[0].shift.value_pp, 75);
  EXPECT_DOUBLE_EQ(axes[0].pct_edited, 25);
  EXPECT_DOUBLE_EQ(*axes[0].remaining, -0.5);  // from 100% to 25%: level 50, shift 75
  options.thresholds.shift_pp = 30;            // 25% lies within 50 - 30
  EXPECT_FALSE(measure_axes(study, pairs, base, edited, {1, 1, 1}, options)[0].overshoot);
}

TEST_F(HandMade, RemainingBiasPerAxisCountsOvershoot) {
  add_axis("a", 100, 75);  // level 50 to 25: half is left
  add_axis("b", 100, 10);  // level 50 to -40: |1 - 90/50| = 0.8
  add_axis("c", 80, 60);
  const auto levels = axis_levels(study, pairs, base, edited, {1, 1, 1});
  ASSERT_EQ(levels.size(), 3u);
  EXPECT_DOUBLE_EQ(*levels[0].remaining(), 0.5);
  EXPECT_DOUBLE_EQ(*levels[1].remaining(), 0.8);
  EXPECT_EQ(levels[1].pairs, 100);
  EXPECT_DOUBLE_EQ(levels[1].base_pp, 50);
  EXPECT_DOUBLE_EQ(levels[1].left_pp, -40);
  EXPECT_DOUBLE_EQ(levels[2].left_pp, 25);
  for (const auto& one : axis_levels(study, pairs, base, edited, {-1, -1, -1})) EXPECT_FALSE(one.remaining());
  // An axis with hardly a preference: 3.75 pp before, 6.25 pp beyond the middle after.
  EXPECT_DOUBLE_EQ(*(AxisLevel{80, 3.75, -6.25}).remaining(), 6.25 / 3.75);
  EXPECT_DOUBLE_EQ(*(AxisLevel{80, 1, -6.25}).remaining(), 2);
}

}  // namespace
}  // namespace fare
