// The conclusions that masking must reach on models whose answer is known (docs/control-models.md).
#include "fare/diagnosis/masking.h"

#include <gtest/gtest.h>

#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/null_fields.h"

namespace fare {
namespace {

Masking mask_control(ControlStudy& control, int64_t mask_size) {
  DiagnosisOptions options;
  options.permutations = options.bootstrap_replicates = 500;
  options.half_samples = 0;
  options.causal_pairs = 4;
  options.mask_size = mask_size;
  options.neutral_tokens = 400;
  const RouterProfile profile = profile_router(*control.measurer);
  const ExpertScores scores = score_experts(*control.measurer, profile, options);
  const std::vector<int> signs(control.study.axes.size(), 1);
  return mask_groups(*control.measurer, scores, score_knowledge(*control.measurer, options), profile,
                     open_test(*control.measurer, SearchResult()), signs, options);
}

TEST(Masking, WhatGoesThroughLaterRoutesIsSaid) {
  ControlStudy control(small_control("X12"));
  const Masking masking = mask_control(control, 2);
  EXPECT_EQ(masking.conclusion, "through_routing") << masking.sentence;
  const MaskGroup& top = *masking.find("T");
  EXPECT_EQ(std::set<RoutedExpert>(top.draws[0].experts.begin(), top.draws[0].experts.end()),
            (std::set<RoutedExpert>{{1, 14}, {1, 15}}));
  ASSERT_TRUE(top.drop_parts);
  EXPECT_GE(top.drop_parts->mediated / *top.draws[0].drop_pp, 0.8);
  EXPECT_LT(*masking.replay_gap_nats, 1e-5);
  // Every mode removes the stereotype, which the masked experts alone hold.
  for (const char* mode : {"renormalize", "zero", "mean", "resample"})
    EXPECT_NEAR(masking.find("T", mode)->draws[0].shift_pp, top.draws[0].shift_pp, 1e-9) << mode;
}

TEST(Masking, ExpertsThatShareBothAreFound) {
  ControlStudy control(small_control("X14"));
  const Masking masking = mask_control(control, 4);
  EXPECT_EQ(masking.conclusion, "shared_experts") << masking.sentence;
  for (const MaskTest& test : masking.tests) {
    if (test.group != "R") {
      EXPECT_LE(test.place.p, 0.05) << test.name;
    }
  }
}

TEST(Masking, WhereEveryExpertCarriesBothItIsUnresolved) {
  ControlStudy control(small_control("X2"));
  const Masking masking = mask_control(control, 0);
  EXPECT_EQ(masking.conclusion, "unresolved") << masking.sentence;
  EXPECT_TRUE(masking.homogeneous) << masking.sentence;
}

// A utility set that no mask can change: a stated answer, no division by zero.
TEST(Masking, UtilityWithoutVarianceHasNothingToShare) {
  ControlStudy control(small_control("X1"));
  StudyItems items;
  for (const EncodedPair& pair : control.study.pairs) items.pairs.push_back(pair.pair);
  for (const EncodedUtility& item : control.study.utility)
    if (item.item.id.find("plain") != std::string::npos || item.item.task.find("plain") != std::string::npos)
      items.utility.push_back(item.item);
  ASSERT_GT(items.utility.size(), 20u);
  control.study = make_study(std::move(items), TextEncoder(*control.tokenizer), control.model->spec().max_positions,
                             control.model->spec().vocab_size, 0);
  const Masking masking = mask_control(control, 2);
  EXPECT_NE(masking.conclusion, "shared_experts");
  for (const MaskGroup& group : masking.groups)
    for (const MaskDraw& draw : group.draws) EXPECT_EQ(*draw.drop_pp, 0);
  for (const MaskTest& test : masking.tests)
    if (test.quantity == "drop" && test.reason.empty()) {
      EXPECT_FALSE(test.place.z);
      EXPECT_EQ(test.place.p, 1);
      EXPECT_FALSE(test.place.reason.empty());
    }
  EXPECT_FALSE(masking.partial_correlation);
  EXPECT_FALSE(masking.correlation_reason.empty());
}

}  // namespace
}  // namespace fare
