#include "fare/diagnosis/masking_rules.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

Shift shift_of(double value, double half = 0.5) {
  Shift shift;
  shift.value_pp = value;
  shift.interval95 = {value - half, value + half};
  shift.interval90 = {value - 0.8 * half, value + 0.8 * half};
  return shift;
}
Drop drop_of(double value, double half = 0.3) {
  Drop drop;
  drop.value_pp = value;
  drop.n = 100;
  drop.interval95 = {value - half, value + half};
  drop.interval90 = {value - 0.8 * half, value + 0.8 * half};
  return drop;
}

// T removes 10 pp at a drop of 8 pp, of which `direct` is direct; forty sets of U and C each, at drops 0.00, 0.01, ..
Masking example(double direct = 7, double matched_drop = 0) {
  Masking masking;
  masking.primary_m = 4;
  MaskGroup top{.group = "T", .m = 4};
  top.draws.push_back({.shift_pp = 10, .drop_pp = 8, .dose_nats = 0.01});
  top.shift = shift_of(10);
  top.drop = drop_of(8);
  top.drop_parts = EffectParts{direct, 8 - direct, 0};
  top.shift_parts = EffectParts{10, 0, 0};
  masking.groups.push_back(top);
  for (const char* name : {"U", "C", "R"}) {
    MaskGroup group{.group = name, .m = 4};
    for (int i = 0; i < 40; ++i)
      group.draws.push_back(
          {.experts = {{0, i}}, .shift_pp = 0.02 * i, .drop_pp = matched_drop + 0.01 * i, .dose_nats = 0.01});
    masking.groups.push_back(std::move(group));
  }
  masking.subsets.push_back({.kind = MaskSubset::Kind::kTop, .what = "the top 4 experts", .separable = false});
  make_tests(masking);
  return masking;
}

std::string conclusion_of(Masking masking) {
  conclude(masking, Thresholds());
  return masking.conclusion;
}

TEST(MaskingRules, SeparableNeedsBothSidesAndNoNeedsOne) {
  const Thresholds limits;  // 3 pp, 1 pp
  EXPECT_EQ(is_separable(shift_of(6), drop_of(0), limits), std::optional(true));
  EXPECT_EQ(is_separable(shift_of(6), drop_of(5), limits), std::optional(false));
  EXPECT_EQ(is_separable(shift_of(1), drop_of(0), limits), std::optional(false));
  EXPECT_EQ(is_separable(shift_of(6), drop_of(1), limits), std::nullopt);
  EXPECT_EQ(is_separable(shift_of(2.9), drop_of(0), limits), std::nullopt);
  EXPECT_EQ(is_separable(shift_of(6), Drop(), limits), std::nullopt);  // no utility item
}

// Each rule reads one bound: a value just beside it decides the other way.
TEST(MaskingRules, SeparableReadsTheBoundsThatTheRulesName) {
  const Thresholds limits;
  const auto shift = [](double value, double low95, double high95, double high90) {
    Shift one = shift_of(value);
    one.interval95 = {low95, high95};
    one.interval90.high = high90;
    return one;
  };
  const auto drop = [](double low90, double high90, double high95) {
    Drop one = drop_of((low90 + high90) / 2);
    one.interval90 = {low90, high90};
    one.interval95.high = high95;
    return one;
  };
  const Drop free = drop(-0.2, 0.2, 0.3);
  EXPECT_EQ(is_separable(shift(2, 1, 3.2, 2.9), free, limits),
            std::optional(false));                                            // one-sided bound, not the 95% interval's
  EXPECT_EQ(is_separable(shift(4, -0.1, 8, 7), free, limits), std::nullopt);  // large, but not above chance
  EXPECT_EQ(is_separable(shift(4, 0.1, 8, 7), free, limits), std::optional(true));
  EXPECT_EQ(is_separable(shift_of(6), drop(0.5, 0.9, 1.2), limits),
            std::optional(true));  // non-inferior at one-sided 5%
  EXPECT_EQ(is_separable(shift_of(6), drop(1.1, 1.5, 1.6), limits), std::optional(false));  // surely beyond tau
  EXPECT_EQ(is_separable(shift_of(6), drop(0.9, 1.5, 1.6), limits), std::nullopt);
}

TEST(MaskingRules, TheSubsetThatRemovesMostIsNamed) {
  Masking masking = example();
  for (const auto& [what, value] :
       {std::pair{"expert 3 of layer 1", 5.0}, {"expert 4 of layer 1", 7.0}, {"expert 5 of layer 1", 6.0}})
    masking.subsets.push_back({.kind = MaskSubset::Kind::kSingle,
                               .what = what,
                               .shift = shift_of(value),
                               .drop = drop_of(0),
                               .separable = true});
  conclude(masking, Thresholds());
  EXPECT_NE(masking.sentence.find("Masking expert 4 of layer 1"), std::string::npos) << masking.sentence;
}

// Whether the drop is there at all is read off the 95% interval, and an extreme place means p <= alpha for drop and
// shift.
TEST(MaskingRules, ChanceIsExcludedOnBothQuantities) {
  Masking barely = example();
  barely.groups[0].drop->interval95.low = -0.01;
  barely.groups[0].drop->interval90.low = 0.2;
  EXPECT_EQ(conclusion_of(barely), "unresolved");
  const auto with_p = [](double of_drop, double of_shift) {
    Masking masking = example();
    for (MaskTest& test : masking.tests) test.place.p = test.quantity == "drop" ? of_drop : of_shift;
    return conclusion_of(masking);
  };
  EXPECT_EQ(with_p(0.05, 0.05), "shared_experts");
  EXPECT_EQ(with_p(0.04, 0.06), "unresolved");  // the shift is nothing that matched groups do not show
  EXPECT_EQ(with_p(0.06, 0.04), "capacity");
}

// Values from the ranks by hand: shift falls exactly as drop rises once mass and dose are held fixed.
TEST(MaskingRules, CorrelationHoldsMassAndDoseFixed) {
  Masking masking;
  masking.primary_m = 1;
  const double mass[] = {1, 2, 3, 4, 5, 6}, dose[] = {3, 1, 4, 6, 2, 5}, drop[] = {2, 1, 6, 3, 5, 4};
  for (const char* name : {"R", "U", "C"}) masking.groups.push_back({.group = name, .m = 1});
  for (int i = 0; i < 6; ++i)
    masking.groups[static_cast<size_t>(i % 3)].draws.push_back(
        {.experts = {{0, i}}, .shift_pp = -drop[i], .drop_pp = drop[i], .dose_nats = dose[i]});
  correlate(masking, [&](const RoutedExpert& expert) { return mass[expert.expert]; });
  ASSERT_TRUE(masking.partial_correlation) << masking.correlation_reason;
  EXPECT_NEAR(*masking.partial_correlation, -1, 1e-12);

  // Shift equal to mass: nothing is left of it.
  for (auto& group : masking.groups)
    for (auto& draw : group.draws) draw.shift_pp = mass[draw.experts[0].expert];
  masking.partial_correlation.reset();
  correlate(masking, [&](const RoutedExpert& expert) { return mass[expert.expert]; });
  EXPECT_FALSE(masking.partial_correlation);
  EXPECT_FALSE(masking.correlation_reason.empty());

  masking.groups[0].draws.clear();
  masking.correlation_reason.clear();
  correlate(masking, [&](const RoutedExpert&) { return 0.0; });
  EXPECT_NE(masking.correlation_reason.find("fewer than five"), std::string::npos);
}

TEST(MaskingRules, SharedExpertsNeedsEveryCondition) {
  EXPECT_EQ(conclusion_of(example()), "shared_experts");
  Masking open = example();
  open.subsets[0].separable = std::nullopt;
  EXPECT_EQ(conclusion_of(open), "unresolved");
  Masking few = example();
  for (const char* name : {"U", "C"})
    for (MaskGroup& group : few.groups)
      if (group.group == name) group.draws.resize(38);
  few.tests.clear();
  make_tests(few);
  conclude(few, Thresholds());
  EXPECT_EQ(few.conclusion, "unresolved");
  EXPECT_NE(few.sentence.find("38 distinct sets were drawn and 39 are needed"), std::string::npos) << few.sentence;
  Masking unknown = example();
  unknown.groups[0].drop_parts.reset();
  unknown.groups[0].parts_reason = "the routes were not replayed";
  conclude(unknown, Thresholds());
  EXPECT_EQ(unknown.conclusion, "unresolved");
  EXPECT_NE(unknown.sentence.find("not replayed"), std::string::npos);
}

TEST(MaskingRules, MoreThanHalfMediatedIsThroughRouting) {
  EXPECT_EQ(conclusion_of(example(3.9)), "through_routing");
  EXPECT_EQ(conclusion_of(example(4.1)), "shared_experts");
}

TEST(MaskingRules, NoDearerThanMatchedGroupsIsCapacity) {
  EXPECT_EQ(conclusion_of(example(7, 9)), "capacity");
  Masking homogeneous = example(7, 9);
  homogeneous.homogeneous = true;
  conclude(homogeneous, Thresholds());
  EXPECT_EQ(homogeneous.conclusion, "unresolved");
  EXPECT_NE(homogeneous.sentence.find("homogeneous"), std::string::npos);
}

TEST(MaskingRules, ASeparableSubsetComesFirstButNotAConditionalOne) {
  Masking single = example();
  single.subsets.push_back({.kind = MaskSubset::Kind::kSingle,
                            .what = "expert 3 of layer 1",
                            .shift = shift_of(5),
                            .drop = drop_of(0),
                            .separable = true});
  EXPECT_EQ(conclusion_of(single), "separable");
  Masking conditional = example();
  conditional.subsets.push_back({.kind = MaskSubset::Kind::kConditional,
                                 .what = "near demographic words",
                                 .shift = shift_of(5),
                                 .drop = drop_of(0),
                                 .separable = true});
  conclude(conditional, Thresholds());
  EXPECT_EQ(conditional.conclusion, "shared_experts");
  EXPECT_NE(conditional.sentence.find("near demographic words only"), std::string::npos);
}

TEST(MaskingRules, AMaskThatCostsNothingHasNothingToShare) {
  Masking free = example();
  free.groups[0].drop = drop_of(0.1);
  EXPECT_EQ(conclusion_of(free), "unresolved");
  Masking without = example();
  without.groups[0].drop = Drop();
  EXPECT_EQ(conclusion_of(without), "unresolved");
}

TEST(MaskingRules, EverySentenceNamesTheMode) {
  for (Masking masking : {example(), example(3), example(7, 9)}) {
    conclude(masking, Thresholds());
    EXPECT_NE(masking.sentence.find("mode refill"), std::string::npos) << masking.sentence;
  }
}

TEST(SuperExperts, StandFarAboveAllOthersInTheFirstThreeQuarters) {
  RouterProfile profile;
  for (int64_t l = 0; l < 4; ++l) {
    LayerProfile layer;
    layer.layer = l;
    layer.largest_output_E.assign(8, 1.0);
    profile.layers.push_back(layer);
  }
  EXPECT_TRUE(super_experts(profile, 4).empty());
  profile.layers[1].largest_output_E[5] = 30;
  EXPECT_EQ(super_experts(profile, 4), (ExpertSet{{1, 5}}));
  profile.layers[1].largest_output_E[5] = 9;  // not ten medians
  EXPECT_TRUE(super_experts(profile, 4).empty());
  profile.layers[1].largest_output_E[5] = 1;
  profile.layers[3].largest_output_E[5] = 30;  // in the last quarter
  EXPECT_TRUE(super_experts(profile, 4).empty());
}

TEST(DistinctSets, StopsWhereThereAreNoMore) {
  const auto draw = [](int64_t i) { return std::vector<RoutedExpert>{{0, static_cast<int32_t>(i % 3)}}; };
  EXPECT_EQ(distinct_sets(2, draw).size(), 2u);
  EXPECT_EQ(distinct_sets(40, draw).size(), 3u);
}

}  // namespace
}  // namespace fare
