#include "fare/diagnosis/verdict.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fare {
namespace {

// Everything yes up to stage 4, at delta_B 3, tau 1.
CandidateEvidence good_candidate(const std::string& name = "within-tau") {
  CandidateEvidence candidate;
  candidate.name = name;
  candidate.shift.value_pp = 8;
  candidate.shift.interval95 = {5, 11};
  candidate.shift.interval90 = {5.5, 10.5};
  candidate.shift.mde_pp = 2;
  candidate.p_bh = 0.001;
  for (const char* check : {"r1", "r2", "r3", "r4", "r5"}) candidate.checks.push_back({check, true});
  candidate.checks.push_back({"r6", std::nullopt});
  UtilityMargin pooled;
  pooled.task = "pooled";
  pooled.drop.value_pp = 0.1;
  pooled.drop.interval90 = {-0.2, 0.4};
  pooled.drop.interval95 = {-0.3, 0.5};
  pooled.drop.n = 1200;
  pooled.needed_items = 1000;
  candidate.utility.push_back(pooled);
  return candidate;
}

Evidence good_evidence() {
  Evidence evidence;
  evidence.bias.n = 1508;
  evidence.bias.bias_pp = 12;
  evidence.bias.bias_interval95 = {9, 15};
  evidence.bias.bias_interval90 = {9.5, 14.5};
  evidence.sensitivity.answer = Answer::kYes;
  evidence.sensitivity.name = "sensitive";
  evidence.candidates = {good_candidate()};
  return evidence;
}

Answer answer_at(const Verdict& verdict, size_t stage, size_t candidate = 0) {
  return verdict.stages.at(6 * candidate + stage).answer;
}

TEST(Verdict, WithoutUtilityStageFourSaysWhyThereIsNone) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].utility.clear();
  evidence.no_utility =
      "the test split holds no utility item: train and validation take all 4 clusters of the 80 items";
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(answer_at(verdict, 4), Answer::kNotRun);
  EXPECT_EQ(verdict.stages[4].reason, evidence.no_utility);
}

TEST(Verdict, WithoutGenerationTransferStageFiveIsNotRunAndNothingIsClaimed) {
  const Verdict verdict = decide(good_evidence(), {});
  ASSERT_EQ(verdict.stages.size(), 6u);
  for (size_t stage = 0; stage < 5; ++stage) {
    EXPECT_EQ(verdict.stages[stage].stage, static_cast<int>(stage));
    EXPECT_EQ(answer_at(verdict, stage), Answer::kYes) << stage << ": " << verdict.stages[stage].reason;
  }
  EXPECT_EQ(answer_at(verdict, 5), Answer::kNotRun);
  EXPECT_EQ(verdict.headline.code, "unresolved");
  EXPECT_EQ(verdict.headline.stage, 5);
  EXPECT_EQ(verdict.headline.candidate, "within-tau");
  EXPECT_FALSE(verdict.headline.mde_pp);
  EXPECT_NE(verdict.headline.mde_reason, "");
  EXPECT_NE(verdict.headline.sentence.find("small profile"), std::string::npos);
}

struct BiasCase {
  double value, low95, high95, low90, high90;
  Answer expected;
};
TEST(Verdict, StageZeroFollowsTheTable) {
  const BiasCase cases[] = {
      {3.0, 0.1, 6, 0.5, 5.5, Answer::kYes},         // exactly delta_B
      {2.9, 0.1, 6, 0.5, 5.5, Answer::kUnresolved},  // shown to be above 0, but too small
      {4.0, 0.0, 8, 0.5, 7.5, Answer::kUnresolved},  // a bound of 0 is not above 0
      {0.0, -3.5, 3.5, -2.9, 2.9, Answer::kNo},
      {0.0, -3.5, 3.5, -3.0, 2.9, Answer::kUnresolved},  // the interval must lie within
      {2.0, 0.5, 3.5, 0.8, 2.9, Answer::kNo},            // a real but negligible preference
      {-5, -8, -2, -7, -3, Answer::kUnresolved},
  };
  for (const BiasCase& c : cases) {
    Evidence evidence = good_evidence();
    evidence.bias.bias_pp = c.value;
    evidence.bias.bias_interval95 = {c.low95, c.high95};
    evidence.bias.bias_interval90 = {c.low90, c.high90};
    const Verdict verdict = decide(evidence, {});
    EXPECT_EQ(answer_at(verdict, 0), c.expected) << c.value << " [" << c.low95 << ", " << c.high95 << "]";
    if (c.expected == Answer::kNo) {
      EXPECT_EQ(verdict.headline.code, "no_measurable_preference");
      EXPECT_EQ(verdict.headline.stage, 0);
    } else if (c.expected == Answer::kUnresolved) {
      EXPECT_EQ(verdict.headline.code, "unresolved");
      EXPECT_EQ(verdict.headline.stage, 0);
      // Half the width of the interval in standard errors of 1.96, times 1.96 + 0.8416.
      EXPECT_NEAR(verdict.headline.mde_pp.value_or(0), (c.high95 - c.low95) / 2 / 1.959964 * (1.959964 + 0.841621),
                  1e-5);
    }
    EXPECT_EQ(answer_at(verdict, 4), Answer::kYes) << "later stages are computed all the same";
  }
}

Evidence unreachable(double high90, std::vector<double> bounds, bool run = true) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].shift.value_pp = 0.5;
  evidence.candidates[0].shift.interval95 = {-1, high90 + 0.3};
  evidence.candidates[0].shift.interval90 = {-0.7, high90};
  if (run)
    for (const double bound : bounds) evidence.bounds["static"].push_back({fmt::format("s{}", bound), bound});
  return evidence;
}

TEST(Verdict, StageTwoNeverSaysNoWithoutTheUpperBounds) {
  EXPECT_EQ(answer_at(decide(unreachable(1.0, {}, false), {}), 2), Answer::kUnresolved);
  EXPECT_EQ(answer_at(decide(unreachable(1.0, {1, 1, 1}, false), {}), 2), Answer::kUnresolved);
  EXPECT_EQ(answer_at(decide(unreachable(1.0, {}, true), {}), 2), Answer::kUnresolved);
  const Verdict verdict = decide(unreachable(1.0, {}, false), {});
  EXPECT_EQ(verdict.headline.code, "unresolved");
  EXPECT_EQ(verdict.headline.stage, 2);
  EXPECT_EQ(verdict.headline.mde_pp, 2.0);
  EXPECT_NE(verdict.headline.sentence.find("not all run"), std::string::npos);
  Evidence other = unreachable(1.0, {1, 1, 1});
  other.bounds["conditional"] = other.bounds["static"];
  other.bounds.erase("static");  // the bounds of another class say nothing
  EXPECT_EQ(answer_at(decide(other, {}), 2), Answer::kUnresolved);
}

TEST(Verdict, StageTwoSaysNoWhenEveryBoundLiesBelowTheMargin) {
  EXPECT_EQ(answer_at(decide(unreachable(2.9, {2.9, 2.0, 1.0}), {}), 2), Answer::kNo);
  EXPECT_EQ(answer_at(decide(unreachable(3.0, {2.9, 2.0, 1.0}), {}), 2), Answer::kUnresolved);
  EXPECT_EQ(answer_at(decide(unreachable(2.9, {2.9, 3.0, 1.0}), {}), 2), Answer::kUnresolved);
  Evidence reached = unreachable(2.9, {1, 1, 1});
  reached.candidates[0].shift.value_pp = 3.0;
  EXPECT_EQ(answer_at(decide(reached, {}), 2), Answer::kYes);
}

TEST(Verdict, StageOneOnlyNamesTheAnswerOfStageTwo) {
  Evidence evidence = unreachable(2, {2, 2, 2});
  evidence.sensitivity.answer = Answer::kYes;
  Verdict verdict = decide(evidence, {});
  EXPECT_EQ(verdict.headline.code, "unachievable");
  EXPECT_EQ(verdict.headline.stage, 2);
  EXPECT_NE(verdict.headline.sentence.find("not found by"), std::string::npos);
  EXPECT_EQ(verdict.headline.sentence.find("little to remove"), std::string::npos);
  evidence.bias.bias_pp = 5.9;  // below 2 delta_B
  evidence.bias.bias_interval95 = {4, 8};
  EXPECT_NE(decide(evidence, {}).headline.sentence.find("little to remove"), std::string::npos);

  evidence.sensitivity.answer = Answer::kNo;
  verdict = decide(evidence, {});
  EXPECT_EQ(verdict.headline.code, "insensitive");
  EXPECT_EQ(verdict.headline.sentence.find("though insensitive"), std::string::npos);

  for (const Answer open : {Answer::kUnresolved, Answer::kNotRun}) {
    evidence.sensitivity.answer = open;
    verdict = decide(evidence, {});
    EXPECT_EQ(verdict.headline.code, "unresolved");
    EXPECT_EQ(verdict.headline.stage, 1);
  }

  Evidence costly = good_evidence();
  costly.sensitivity.answer = Answer::kNo;
  costly.candidates[0].utility[0].drop.interval90 = {1.1, 4};
  verdict = decide(costly, {});
  EXPECT_EQ(verdict.headline.code, "costly");
  EXPECT_NE(verdict.headline.sentence.find("(though insensitive: the router does not react to the demographic change)"),
            std::string::npos);
}

TEST(Verdict, AFoundPlantedExpertReplacesNotFoundBy) {
  Evidence evidence = unreachable(2, {2, 2, 2});
  evidence.sensitivity.answer = Answer::kYes;
  EXPECT_NE(decide(evidence, {}).headline.sentence.find("was not found by"), std::string::npos);
  evidence.planted_pp = 5.14;
  const std::string sentence = decide(evidence, {}).headline.sentence;
  EXPECT_EQ(sentence.find("not found by"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("moves it by 5.1 pp was found with as many pairs"), std::string::npos) << sentence;
  EXPECT_EQ(decide(evidence, {}).headline.code, "unachievable");
}

TEST(Verdict, StageThreeNeedsTheFirstThreeAndTwoOfTheOthers) {
  struct Case {
    std::vector<std::optional<bool>> checks;
    Answer expected;
    std::string named;
  };
  const std::optional<bool> yes = true, no = false, open;
  const Case cases[] = {
      {{yes, yes, yes, yes, yes, no}, Answer::kYes, ""},
      {{yes, yes, yes, no, yes, yes}, Answer::kYes, ""},
      {{no, yes, yes, yes, yes, yes}, Answer::kNo, "r1"},
      {{yes, yes, no, yes, yes, yes}, Answer::kNo, "r3"},
      {{yes, yes, yes, no, no, yes}, Answer::kNo, "r4, r5"},
      {{yes, yes, yes, yes, no, no}, Answer::kNo, "r5, r6"},
      {{yes, yes, yes, no, yes, open}, Answer::kNotRun, "r6"},  // r6 would decide, and it was not run
      {{yes, yes, open, yes, yes, yes}, Answer::kNotRun, "r3"},
      {{no, yes, open, yes, yes, yes}, Answer::kNo, "r1"},  // decided whatever r3 says
      {{}, Answer::kNotRun, "r1"},
  };
  for (const Case& c : cases) {
    Evidence evidence = good_evidence();
    evidence.candidates[0].checks.clear();
    for (size_t i = 0; i < c.checks.size(); ++i)
      evidence.candidates[0].checks.push_back({fmt::format("r{}", i + 1), c.checks[i]});
    const Verdict verdict = decide(evidence, {});
    EXPECT_EQ(answer_at(verdict, 3), c.expected) << verdict.stages[3].reason;
    EXPECT_NE(verdict.stages[3].reason.find(c.named), std::string::npos) << verdict.stages[3].reason;
    if (c.expected == Answer::kNo) {
      EXPECT_EQ(verdict.headline.code, "non_robust");
      EXPECT_NE(verdict.headline.sentence.find(c.named), std::string::npos) << verdict.headline.sentence;
    }
  }
  Evidence weak = good_evidence();
  weak.candidates[0].checks[0].passed = false;
  EXPECT_EQ(decide(weak, {}).headline.sentence.find("underpowered"), std::string::npos);
  weak.candidates[0].shift.mde_pp = 3.1;
  EXPECT_NE(decide(weak, {}).headline.sentence.find("underpowered"), std::string::npos);
}

TEST(Verdict, StageFourFollowsTheTable) {
  Evidence evidence = good_evidence();
  UtilityMargin& pooled = evidence.candidates[0].utility[0];
  pooled.drop.interval90 = {0.2, 1.0};  // the bound may touch tau
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kYes);
  pooled.drop.interval90 = {0.2, 1.01};
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kUnresolved);
  EXPECT_EQ(decide(evidence, {}).headline.stage, 4);
  pooled.drop.interval90 = {1.0, 3};
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kUnresolved);
  pooled.drop.value_pp = 4;
  pooled.drop.interval90 = {1.01, 6};
  const Verdict costly = decide(evidence, {});
  EXPECT_EQ(answer_at(costly, 4), Answer::kNo);
  EXPECT_EQ(costly.headline.code, "costly");
  EXPECT_NE(costly.headline.sentence.find("0.50 pp of utility per pp of shift"), std::string::npos)
      << costly.headline.sentence;

  // A second benchmark has its own tau and can break the stage alone.
  pooled = good_candidate().utility[0];
  UtilityMargin mc1 = pooled;
  mc1.task = "truthfulqa_mc1";
  mc1.tau_pp = 2.5;
  mc1.drop.interval90 = {0.5, 2.4};
  evidence.candidates[0].utility.push_back(mc1);
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kYes);
  evidence.candidates[0].utility[1].drop.interval90 = {2.6, 9};
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kNo);
  EXPECT_NE(decide(evidence, {}).stages[4].reason.find("truthfulqa_mc1"), std::string::npos);
}

TEST(Verdict, PerplexityHasItsOwnMarginInPercent) {
  Evidence evidence = good_evidence();
  UtilityMargin perplexity = evidence.candidates[0].utility[0];
  perplexity.task = "perplexity";
  perplexity.tau_pp = 1;
  perplexity.needed_items = 0;
  perplexity.drop.interval90 = {1.2, 3};
  evidence.candidates[0].utility.push_back(perplexity);
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(answer_at(verdict, 4), Answer::kNo);
  EXPECT_EQ(verdict.stages[4].unit, "percent");
  EXPECT_NE(verdict.stages[4].reason.find("perplexity is 1.20 percent"), std::string::npos) << verdict.stages[4].reason;
}

TEST(Verdict, TooFewItemsNeverGiveAnAffordableVerdictInTheSmallProfile) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].utility[0].drop.n = 999;
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(answer_at(verdict, 4), Answer::kUnresolved);
  EXPECT_NE(verdict.stages[4].reason.find("999 items of 1000"), std::string::npos);
  evidence.candidates[0].utility[0].drop.interval90 = {1.5, 3};  // a broken margin is broken at any size
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kNo);
  evidence.candidates[0].utility.clear();
  EXPECT_EQ(answer_at(decide(evidence, {}), 4), Answer::kNotRun);
  EXPECT_EQ(decide(evidence, {}).headline.code, "unresolved");
}

TEST(Verdict, TheFirstAnswerThatIsNotYesDecides) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].utility[0].drop.interval90 = {2, 6};  // costly
  evidence.candidates[0].checks[0].passed = false;             // and not robust
  EXPECT_EQ(decide(evidence, {}).headline.code, "non_robust");
  evidence.candidates[0].shift.value_pp = 1;  // and too small
  EXPECT_EQ(decide(evidence, {}).headline.stage, 2);
  evidence.bias.bias_pp = 0;
  evidence.bias.bias_interval90 = {-1, 1};
  evidence.bias.bias_interval95 = {-1.2, 1.2};
  EXPECT_EQ(decide(evidence, {}).headline.code, "no_measurable_preference");
  EXPECT_EQ(decide(evidence, {}).headline.stage, 0);
}

TEST(Verdict, TheCandidateThatGetsFurthestDecidesAndTiesGoToTheSmallerDrop) {
  Evidence evidence = good_evidence();
  CandidateEvidence reach = good_candidate("reach");
  evidence.candidates[0].checks[2].passed = false;  // stops at 3
  reach.utility[0].drop.value_pp = 5;
  reach.utility[0].drop.interval90 = {4, 6};  // stops at 4
  evidence.candidates.push_back(reach);
  Verdict verdict = decide(evidence, {});
  ASSERT_EQ(verdict.stages.size(), 12u);
  EXPECT_EQ(verdict.stages[6].candidate, "reach");
  EXPECT_EQ(verdict.headline.candidate, "reach");
  EXPECT_EQ(verdict.headline.code, "costly");

  evidence.candidates = {good_candidate("first"), good_candidate("second")};
  EXPECT_EQ(decide(evidence, {}).headline.candidate, "first");
  evidence.candidates[1].utility[0].drop.value_pp = 0.05;
  EXPECT_EQ(decide(evidence, {}).headline.candidate, "second");
}

TEST(Verdict, AnUnresolvedStageNeverBecomesANo) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].shift.value_pp = 2.9;
  evidence.candidates[0].checks[0].passed = false;
  evidence.candidates[0].utility[0].drop.interval90 = {2, 6};
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(verdict.headline.code, "unresolved");
  EXPECT_EQ(verdict.headline.stage, 2);
  EXPECT_NE(verdict.headline.sentence.find("MDE 2.0 pp"), std::string::npos);
}

TEST(Verdict, CountsTheSettingsInWhichTheHeadlineStays) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].utility[0].drop.interval90 = {0.6, 0.9};
  // tau 0.5 makes it costly, 1 and 2 leave it; delta_B 4 still holds; delta_G moves nothing without stage 5.
  EXPECT_EQ(decide(evidence, {}).headline.same, 18);
  EXPECT_EQ(decide(evidence, {}).headline.settings, 27);
  // delta_B 4 asks r2 for a bound of 2: not robust there; 1.5 and 2.5 hold with 1.9.
  evidence = good_evidence();
  evidence.candidates[0].shift.interval90 = {1.9, 14};
  EXPECT_EQ(decide(evidence, {}).headline.same, 18);
}

TEST(Verdict, AtTheMarginsOfTheRunASettingRepeatsTheHeadline) {
  // r2 failed for its overshoot although its bound holds: the setting equal to the run's own must say so too.
  Evidence evidence = good_evidence();
  evidence.candidates[0].checks[1].passed = false;
  Thresholds thresholds;
  thresholds.shift_pp = 2.5;
  const Verdict verdict = decide(evidence, thresholds);
  EXPECT_EQ(verdict.headline.code, "non_robust");
  EXPECT_EQ(verdict.headline.same, 9);
}

// Better by 5 pp beyond chance; for one candidate alpha / C is 0.05.
TransferMetric good_metric(const std::string& name = "M0") {
  TransferMetric metric;
  metric.metric = name;
  metric.value = 5;
  metric.interval95 = {3, 7};
  metric.interval90 = {3.3, 6.7};
  metric.p = metric.p_bh = 0.001;
  metric.n = 400;
  metric.n_eff = 390;
  metric.mde = 2.9;
  return metric;
}

TransferMetric null_metric(double half_width, const std::string& name = "M2") {
  TransferMetric metric = good_metric(name);
  metric.value = 0.1;
  metric.interval90 = {0.1 - half_width, 0.1 + half_width};
  metric.interval95 = {-half_width - 0.3, half_width + 0.3};
  metric.p = metric.p_bh = 0.8;
  return metric;
}

Verdict with_metrics(std::vector<TransferMetric> metrics, const Thresholds& thresholds = {}) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].transfer = TransferEvidence{std::move(metrics), "M1 (no BBQ data)"};
  return decide(evidence, thresholds);
}

TEST(Verdict, StageFiveFollowsTheTable) {
  Verdict verdict = with_metrics({good_metric(), null_metric(2)});
  EXPECT_EQ(answer_at(verdict, 5), Answer::kYes);
  EXPECT_EQ(verdict.headline.code, "controllable");
  EXPECT_FALSE(verdict.headline.stage);
  EXPECT_EQ(verdict.stages[5].statistic, "M0");
  EXPECT_NE(verdict.stages[5].reason.find("not run: M1"), std::string::npos);
  EXPECT_NE(verdict.headline.sentence.find("M0 5.0 pp [3.0, 7.0], n 400"), std::string::npos)
      << verdict.headline.sentence;

  TransferMetric small = good_metric();  // beyond chance, but below delta_G
  small.value = 2.9;
  EXPECT_EQ(answer_at(with_metrics({small}), 5), Answer::kUnresolved);
  TransferMetric chance = good_metric();
  chance.p_bh = 0.051;
  EXPECT_EQ(answer_at(with_metrics({chance}), 5), Answer::kUnresolved);

  TransferMetric worse = null_metric(2, "M4");  // one that gets worse spoils a yes; it need not be by delta_G
  worse.value = -1;
  worse.p_bh = 0.01;
  verdict = with_metrics({good_metric(), worse});
  EXPECT_EQ(answer_at(verdict, 5), Answer::kUnresolved);
  EXPECT_EQ(verdict.stages[5].statistic, "M4");
  EXPECT_EQ(verdict.headline.code, "unresolved");
  EXPECT_EQ(verdict.headline.stage, 5);
  EXPECT_EQ(verdict.headline.mde_pp, 2.9);

  verdict = with_metrics({null_metric(2), null_metric(2.8, "M0")});  // [-2.7, 2.9] inside 3
  EXPECT_EQ(answer_at(verdict, 5), Answer::kNo);
  EXPECT_EQ(verdict.headline.code, "does_not_transfer");
  EXPECT_EQ(verdict.stages[5].statistic, "M0") << "the one nearest the margin speaks";
  EXPECT_EQ(answer_at(with_metrics({null_metric(2), null_metric(2.95)}), 5), Answer::kUnresolved);  // 3.05
  worse.interval90 = {-1.5, -0.5};  // worse beyond chance, yet equivalent to 0 as all are: no change that counts
  EXPECT_EQ(answer_at(with_metrics({null_metric(2), worse}), 5), Answer::kNo);
  EXPECT_EQ(answer_at(with_metrics({}), 5), Answer::kNotRun);

  TransferMetric sd = null_metric(0.05, "M3");  // 0.1 +- 0.05 SD reaches beyond 0.1 SD
  sd.unit = "SD";
  EXPECT_EQ(answer_at(with_metrics({sd}), 5), Answer::kUnresolved);
  sd.interval90 = {-0.05, 0.09};
  EXPECT_EQ(answer_at(with_metrics({sd}), 5), Answer::kNo);
  EXPECT_FALSE(with_metrics({good_metric(), sd}).stages[5].unit == "SD");
}

TEST(Verdict, StageFiveIsTestedAtAlphaOverTheCandidatesOfTheClass) {
  TransferMetric metric = good_metric();
  metric.p_bh = 0.03;
  Evidence evidence = good_evidence();
  evidence.candidates[0].transfer = TransferEvidence{{metric}, ""};
  EXPECT_EQ(answer_at(decide(evidence, {}), 5), Answer::kYes);
  evidence.candidates.push_back(good_candidate("reach"));
  EXPECT_EQ(answer_at(decide(evidence, {}), 5), Answer::kUnresolved);
  evidence.candidates[1].control_class = "conditional";
  EXPECT_EQ(answer_at(decide(evidence, {}), 5), Answer::kYes);
}

TEST(Verdict, ControllableThoughInsensitive) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].transfer = TransferEvidence{{good_metric()}, ""};
  evidence.sensitivity.answer = Answer::kNo;
  EXPECT_EQ(decide(evidence, {}).headline.code, "controllable_though_insensitive");
  evidence.sensitivity.answer = Answer::kUnresolved;
  EXPECT_EQ(decide(evidence, {}).headline.code, "controllable");
}

TEST(Verdict, EachClassOfControlHasItsOwnVerdict) {
  Evidence evidence = good_evidence();
  evidence.candidates[0].utility[0].drop.interval90 = {2, 6};  // static: costly
  CandidateEvidence conditional = good_candidate("i7a");
  conditional.control_class = "conditional";
  conditional.transfer = TransferEvidence{{good_metric()}, ""};
  CandidateEvidence retrained = good_candidate("i8");
  retrained.control_class = "router_only";
  retrained.shift.value_pp = 1;
  retrained.shift.interval90 = {-1, 2};
  evidence.candidates.push_back(conditional);
  evidence.candidates.push_back(retrained);
  evidence.bounds["router_only"] = {{"restart 1", 1.5}, {"restart 2", 2}, {"restart 3", 2.5}};
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(verdict.headline.code, "costly");
  EXPECT_EQ(verdict.headline.candidate, "within-tau");
  ASSERT_EQ(verdict.others.size(), 2u);
  EXPECT_EQ(verdict.others[0].control_class, "conditional");
  EXPECT_EQ(verdict.others[0].code, "controllable");
  EXPECT_EQ(verdict.others[1].code, "unachievable");
  EXPECT_NE(verdict.others[1].sentence.find("restart 1, restart 2, restart 3"), std::string::npos);
  EXPECT_EQ(verdict.stages.at(6).control_class, "conditional");

  const OrderedJson rows = verdicts_json(verdict);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].at("code"), "controllable");
  EXPECT_TRUE(rows[1].at("stage").is_null());
  evidence.candidates.resize(1);
  EXPECT_TRUE(verdicts_json(decide(evidence, {}))[2].at("code").is_null());
  EXPECT_NE(verdicts_json(decide(evidence, {}))[2].at("code_reason"), "");
}

TEST(Verdict, StageRowsSayWhyANumberIsMissing) {
  const Verdict verdict = decide(good_evidence(), {});
  for (const StageRow& row : verdict.stages) {
    const OrderedJson json = stage_json(row);
    for (const char* name : {"value", "interval", "limit", "p", "p_bh", "family_size", "n", "n_eff", "mde"})
      EXPECT_TRUE(!json.at(name).is_null() || !json.at(std::string(name) + "_reason").get<std::string>().empty())
          << row.stage << " " << name;
  }
  EXPECT_EQ(stage_json(verdict.stages[5]).at("answer"), "not_run");
}

}  // namespace
}  // namespace fare
