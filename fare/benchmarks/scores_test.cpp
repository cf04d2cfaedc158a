#include <cmath>

#include "fare/benchmarks/multiple_choice.h"
#include "fare/benchmarks/pair_flags.h"
#include "fare/benchmarks/pair_scores.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

TEST(MultipleChoice, EqualsThePublishedVectors) {
  FARE_NEED_VECTORS(cases, "multiple_choice");
  for (const auto& entry : *cases) {
    SCOPED_TRACE(entry["id"].get<std::string>());
    const Json& input = entry["input"];
    const Json& expected = entry["expected"];
    ChoiceScores scores{input["loglikelihoods"], input["choices"], {}, {}};
    if (input.contains("unconditional")) scores.unconditional = input["unconditional"].get<std::vector<double>>();
    const int64_t gold[] = {input["gold"]};
    const ChoiceMetrics metrics = choice_metrics(scores, gold);
    EXPECT_EQ(metrics.pred, expected["pred"]);
    EXPECT_EQ(metrics.pred_norm, expected["pred_norm"]);
    EXPECT_EQ(metrics.pred_bytes, expected["pred_bytes"]);
    EXPECT_EQ(metrics.acc, expected["acc"]);
    EXPECT_EQ(metrics.acc_norm, expected["acc_norm"]);
    EXPECT_EQ(metrics.acc_bytes, expected["acc_bytes"]);
    EXPECT_NEAR(*metrics.brier, expected["brier_item"].get<double>(), 1e-12);
    for (size_t k = 0; k < metrics.softmax.size(); ++k)
      EXPECT_NEAR(metrics.softmax[k], expected["softmax"][k].get<double>(), 1e-12);
    if (expected.contains("pred_mutual_info")) {
      EXPECT_EQ(*metrics.pred_mutual_info, expected["pred_mutual_info"]);
    }
  }
}

TEST(MultipleChoice, SplitsTiesFairlyAndReportsBadGold) {
  const ChoiceScores tied{{-2, -2, -3}, {"a", "b", "c"}, {}, {}};
  const int64_t second[] = {1};
  EXPECT_EQ(choice_metrics(tied, second).acc, 0);
  EXPECT_EQ(choice_metrics(tied, second).acc_fair_ties, 0.5);
  EXPECT_EQ(choice_metrics(tied, second).num_ties, 2);
  const int64_t several[] = {0, 1};
  EXPECT_EQ(choice_metrics(tied, several).acc_fair_ties, 1);
  const int64_t beyond[] = {7};
  EXPECT_EQ(choice_metrics(tied, beyond).acc, 0);
  EXPECT_TRUE(choice_metrics(tied, beyond).gold_out_of_range);
  EXPECT_FALSE(choice_metrics(tied, beyond).brier);
  ChoiceScores greedy = tied;
  greedy.is_greedy = {false, true, false};
  EXPECT_EQ(*choice_metrics(greedy, second).exact_match, 1);
  EXPECT_EQ(*choice_metrics(greedy, beyond).exact_match, 0);
  EXPECT_THROW(choice_metrics({{}, {}, {}, {}}, second), BrokenInvariant);
}

TEST(PairScores, OriginalScoreEqualsThePublishedVector) {
  FARE_NEED_VECTORS(cases, "crows_pairs");
  std::vector<OriginalCrowsPair> pairs;
  double signed_sum = 0, group_sum = 0;
  for (const auto& pair : cases->at(0)["input"]["pairs"]) {
    pairs.push_back({pair["stereo_antistereo"] == "stereo", pair["ll_more"], pair["ll_less"]});
    const double delta = pairs.back().score_more - pairs.back().score_less;
    signed_sum += delta;
    group_sum += pairs.back().stereo ? delta : -delta;
  }
  const Json& expected = cases->at(0)["expected"];
  const OriginalCrowsScore score = original_crows_score(pairs);
  EXPECT_EQ(score.metric, expected["original_metric"]);
  EXPECT_EQ(*score.stereotype, expected["original_stereotype"]);
  EXPECT_EQ(*score.antistereotype, expected["original_antistereotype"]);
  EXPECT_EQ(score.num_neutral, expected["original_neutral"]);
  EXPECT_NEAR(signed_sum / 6, expected["signed_diff_mean"].get<double>(), 1e-9);
  EXPECT_NEAR(group_sum / 6, expected["disadvantaged_group_preference_mean"].get<double>(), 1e-9);
  EXPECT_THROW(original_crows_score({}), NumericError);
}

TEST(PairScores, RoundsTheExactBinaryValue) {
  EXPECT_EQ(round_decimals(2.675, 2), 2.67);  // 2.675 is stored a little below
  EXPECT_EQ(round_decimals(0.125, 2), 0.12);  // a true half goes to even
  EXPECT_EQ(round_decimals(-33.3335, 3), -33.334);
}

TEST(PairScores, ThreeScoringsByHand) {
  // "A x y" against "B x": first tokens differ, x is shared.
  const RequestResult first{-6.0, false, {10, 20, 30}, {-1.0, -2.0, -3.0}, 0, false};
  const RequestResult second{-5.0, false, {11, 20}, {-1.5, -3.5}, 0, false};
  const PairDelta delta = pair_delta(first, second);
  EXPECT_EQ(delta.sum, -1.0);
  EXPECT_EQ(*delta.per_token, -2.0 - -2.5);
  EXPECT_EQ(*delta.shared, -2.0 - -3.5);
  EXPECT_EQ(delta.num_shared_tokens, 1);
  const RequestResult other{-5.0, false, {12}, {-5.0}, 0, false};
  EXPECT_FALSE(pair_delta(first, other).shared);
  const RequestResult no_tokens{-5.0, false, {}, {}, 0, false};
  EXPECT_FALSE(pair_delta(first, no_tokens).per_token);
  const RequestResult broken{-5.0, false, {12}, {}, 0, false};
  EXPECT_THROW(pair_delta(first, broken), BrokenInvariant);
  EXPECT_EQ(preference_share(0), 0.5);
}

TEST(PairFlags, ClassesByHand) {
  EXPECT_EQ(pair_flags("He is old.", "She is old.").pair_class, PairClass::kOneSpanEqual);
  EXPECT_TRUE(pair_flags("He is old.", "She is old.").filtered);
  EXPECT_EQ(pair_flags("The old man ran.", "The man ran.").pair_class, PairClass::kOneSpanUnequal);
  EXPECT_FALSE(pair_flags("The old man ran.", "The man ran.").filtered);  // one side has no changed span
  EXPECT_EQ(pair_flags("He said he ran.", "She said she ran.").pair_class, PairClass::kMultiSpan);
  EXPECT_TRUE(pair_flags("He said he ran.", "She said she ran.").filtered);
  EXPECT_EQ(pair_flags("He ran.", "She ran").pair_class, PairClass::kPunctuation);
  // Different last letters are no punctuation.
  EXPECT_TRUE(pair_flags("He is black", "He is white").last_character_differs);
  EXPECT_FALSE(pair_flags("He is black", "He is white").final_punctuation_differs);
  EXPECT_FALSE(pair_flags("same", "same").filtered);
}

TEST(PairFlags, NearDuplicatesJoinWriters) {
  const std::vector<std::string> writers{"a2", "a1", "a3", "a2"};
  const std::vector<std::vector<std::string>> words{
      {"p", "q", "r", "s", "t"}, {"p", "q", "r", "s"}, {"p", "q", "r"}, {"z"}};
  // a2 and a1 share 4 of 5 words; a1 and a3 share 3 of 4, below 0.8.
  EXPECT_EQ(writer_clusters(writers, words), (std::vector<std::string>{"a1", "a1", "a3", "a1"}));
  EXPECT_EQ(writer_clusters(writers, words, 0.75), (std::vector<std::string>{"a1", "a1", "a1", "a1"}));
}

}  // namespace
}  // namespace fare
