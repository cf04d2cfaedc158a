#include "fare/diagnosis/bias.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/diagnosis/verdict.h"

namespace fare {
namespace {

// Pairs given by axis and cluster; buckets alternate by cluster.
Study hand_study(const std::vector<std::pair<int32_t, std::string>>& pairs) {
  Study study;
  study.axes = {"a", "b"};
  std::vector<std::string> names;
  for (const auto& [axis, cluster] : pairs) {
    study.pairs.emplace_back();
    study.axis_of.push_back(axis);
    names.push_back(cluster);
  }
  study.pair_clusters = stats::cluster_by_name(names);
  for (const int32_t c : study.pair_clusters.of_item) {
    study.pair_splits.bucket.push_back(c % 10);
    study.pair_splits.part.push_back(c % 10 < 2   ? SplitPart::kTrain
                                     : c % 10 < 4 ? SplitPart::kValidation
                                                  : SplitPart::kTest);
  }
  return study;
}

std::vector<Margins> margins_of(const std::vector<double>& values) {
  std::vector<Margins> margins;
  for (const double value : values) margins.push_back({value, value, value});
  return margins;
}

DiagnosisOptions quick() {
  DiagnosisOptions options;
  options.bootstrap_replicates = 500;
  options.permutations = 500;
  return options;
}

TEST(Bias, ShiftIsTheWeightedSumOfSignedAxisShifts) {
  const Study study = hand_study({{0, "1"}, {0, "2"}, {0, "3"}, {0, "4"}, {1, "5"}, {1, "6"}});
  const std::vector<int64_t> pairs = {0, 1, 2, 3, 4, 5};
  const auto base = margins_of({1, 2, 3, -1, -1, -2}), edited = margins_of({1, -2, -3, -1, 1, -2});
  const std::vector<int> signs = axis_signs(study, pairs, base);
  EXPECT_EQ(signs, (std::vector<int>{1, -1}));
  // 4/6 (75 - 25) for axis a; 2/6 of -(0 - 50) for axis b.
  const double by_axes = 4.0 / 6 * (75 - 25) + 2.0 / 6 * -1 * (0 - 50);
  EXPECT_NEAR(shift_pp(study, pairs, base, edited, signs), by_axes, 1e-12);
  const Shift shift = measure_shift(study, pairs, base, edited, signs, MarginScoring::kSum, quick(), "test");
  EXPECT_NEAR(shift.value_pp, by_axes, 1e-12);
  EXPECT_DOUBLE_EQ(shift.discordance, 0.5);
  EXPECT_EQ(shift.n, 6);
  // tau_m: the median of 1, 1, 1, 2, 2, 3.
  const double tau = 1.5;
  const double soft = 100 * (2 * std::tanh(2 / tau) + 2 * std::tanh(3 / tau) + 2 * std::tanh(1 / tau)) / 6 / 2;
  EXPECT_NEAR(shift.margin_shift, soft, 1e-9);
}

TEST(Bias, AnExactTiePrefersNeitherAndAnUndefinedScoringIsLeftOut) {
  EXPECT_EQ(prefers_stereotype({0, 0, std::nullopt}, MarginScoring::kSum), 0.5);
  EXPECT_EQ(prefers_stereotype({1e-300, 0, std::nullopt}, MarginScoring::kSum), 1.0);
  EXPECT_EQ(prefers_stereotype({0, 0, std::nullopt}, MarginScoring::kShared), std::nullopt);
  const Study study = hand_study({{0, "1"}, {0, "2"}});
  std::vector<Margins> base = margins_of({1, 1});
  base[1].shared.reset();
  const Shift shift = measure_shift(study, std::vector<int64_t>{0, 1}, base, margins_of({-1, 1}), {1, 1},
                                    MarginScoring::kShared, quick(), "test");
  EXPECT_EQ(shift.n, 1);
  EXPECT_DOUBLE_EQ(shift.value_pp, 100);
}

TEST(Bias, BalancedClustersGiveStageZeroNoByTheBinomialInterval) {
  std::vector<std::pair<int32_t, std::string>> pairs;
  std::vector<double> values;
  for (int c = 0; c < 500; ++c)
    for (int i = 0; i < 4; ++i) {
      pairs.emplace_back(c % 2, std::to_string(c));
      values.push_back(i < 2 ? 1 : -1);
    }
  const Study study = hand_study(pairs);
  const BaseBias bias = measure_bias(study, margins_of(values), quick());
  const BiasLevel& level = bias.scorings.front();
  EXPECT_EQ(level.bias_pp, 0);
  EXPECT_EQ(level.pct_stereo, 50);
  // Wilson at 50%: half width z / (2 sqrt(n + z^2)).
  const double half95 = 100 * 1.959963985 / 2 / std::sqrt(2000 + 1.959963985 * 1.959963985);
  const double half90 = 100 * 1.644853627 / 2 / std::sqrt(2000 + 1.644853627 * 1.644853627);
  EXPECT_NEAR(level.bias_interval95.high, half95, 1e-6);
  EXPECT_NEAR(level.bias_interval95.low, -half95, 1e-6);
  EXPECT_NEAR(level.bias_interval90.high, half90, 1e-6);

  Evidence evidence;
  evidence.bias = level;
  evidence.sensitivity.answer = Answer::kYes;
  evidence.candidates.emplace_back();
  const Verdict verdict = decide(evidence, {});
  EXPECT_EQ(verdict.stages[0].answer, Answer::kNo);
  EXPECT_EQ(verdict.headline.code, "no_measurable_preference");
}

TEST(Bias, SignsOfALevelComeFromTheOtherHalfOfTheFamilies) {
  // Even clusters prefer the stereotype, odd ones the other side: each half's sign is wrong for the other half.
  std::vector<std::pair<int32_t, std::string>> pairs;
  std::vector<double> values;
  for (int c = 0; c < 40; ++c) {
    pairs.emplace_back(0, std::to_string(c));
    values.push_back(c % 2 == 0 ? 1 : -1);
  }
  const BaseBias bias = measure_bias(hand_study(pairs), margins_of(values), quick());
  EXPECT_EQ(bias.scorings.front().bias_pp, -50);
}

TEST(Bias, OneFamilyIsNoBalancedDesign) {
  const Study study = hand_study({{0, "1"}, {0, "1"}, {0, "1"}, {0, "1"}});
  const BaseBias bias = measure_bias(study, margins_of({1, 1, -1, -1}), quick());
  EXPECT_LE(bias.scorings.front().bias_interval90.low, -40);
  EXPECT_GE(bias.scorings.front().bias_interval90.high, 40);
}

TEST(Bias, PerplexityRisesByTheExponentOfTheMeanLossPerToken) {
  // 40 texts of 10 tokens; every token of the second half loses 0.02 nats: mean 0.01, perplexity up by exp(0.01) - 1.
  std::vector<double> base(400, -2.0), edited(400, -2.0);
  std::vector<std::string> text_of;
  for (int i = 0; i < 400; ++i) {
    text_of.push_back(std::to_string(i / 10));
    if (i >= 200) edited[static_cast<size_t>(i)] -= 0.02;
  }
  DiagnosisOptions options;
  options.bootstrap_replicates = 500;
  options.permutations = 500;
  const Drop drop = measure_perplexity(base, edited, text_of, options);
  EXPECT_NEAR(drop.value_pp, 100 * std::expm1(0.01), 1e-9);
  EXPECT_LT(drop.interval95.low, drop.value_pp);
  EXPECT_GT(drop.interval95.high, drop.value_pp);
  EXPECT_GE(drop.interval90.low, drop.interval95.low);
  EXPECT_EQ(drop.n, 400);
  EXPECT_EQ(measure_perplexity({}, {}, {}, options).n, 0);
}

}  // namespace
}  // namespace fare
