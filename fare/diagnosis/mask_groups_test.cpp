#include "fare/diagnosis/mask_groups.h"

#include <gtest/gtest.h>

#include <set>

namespace fare {
namespace {

RoutedModel model_of(int64_t num_layers, int64_t num_experts, int64_t top_k) {
  RoutedModel model;
  model.num_layers = num_layers;
  for (int64_t l = 0; l < num_layers; ++l) model.moe_layers.push_back(l);
  model.router.num_experts = num_experts;
  model.router.top_k = top_k;
  return model;
}

// Ranks experts in the order given, the others after them by layer and expert.
ExpertScores ranked(const RoutedModel& model, const std::vector<RoutedExpert>& first) {
  ExpertScores scores;
  const auto place = [&](RoutedExpert expert) {
    for (size_t i = 0; i < first.size(); ++i)
      if (first[i] == expert) return static_cast<int64_t>(i + 1);
    return int64_t{0};
  };
  int64_t next = static_cast<int64_t>(first.size());
  for (const int64_t l : model.moe_layers)
    for (int32_t e = 0; e < model.router.num_experts; ++e) {
      const int64_t rank = place({l, e});
      scores.experts.push_back({.layer = l, .expert = e, .combined_rank = rank > 0 ? rank : ++next});
    }
  return scores;
}

TEST(MaskSizes, AreAtMostAnEighthOfTheExperts) {
  EXPECT_EQ(mask_sizes(1024), (std::vector<int64_t>{2, 5, 10, 20, 50}));
  EXPECT_EQ(mask_sizes(64), (std::vector<int64_t>{2, 5, 8}));
  EXPECT_EQ(mask_sizes(32), (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(mask_sizes(8), (std::vector<int64_t>{1}));
  EXPECT_TRUE(mask_sizes(7).empty());
  EXPECT_EQ(primary_size(mask_sizes(1024)), 10);
  EXPECT_EQ(primary_size(mask_sizes(32)), 4);
}

TEST(MaskGroups, TopAndBottomLeaveEnoughExpertsForRefill) {
  const RoutedModel model = model_of(2, 4, 2);
  const ExpertScores scores = ranked(model, {{1, 0}, {1, 1}, {1, 2}, {0, 3}});
  EXPECT_EQ(top_group(scores.experts, 3, model), (std::vector<RoutedExpert>{{1, 0}, {1, 1}, {0, 3}}));
  const auto bottom = bottom_group(scores.experts, 2, model);
  EXPECT_EQ(bottom[0], (RoutedExpert{1, 3}));
  mask_intervention(top_group(scores.experts, 3, model), "top").check(model);
}

TEST(MaskGroups, MaskKeepsTheSumAndNamesEachLayerOnce) {
  const std::vector<RoutedExpert> group = {{1, 3}, {0, 2}, {1, 0}};
  const Intervention intervention = mask_intervention(group, "mask");
  ASSERT_EQ(intervention.edits.size(), 2u);
  const auto& mask = std::get<Mask>(intervention.edits[1].op);
  EXPECT_EQ(mask.experts, (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(mask.mode, Mask::Mode::kRefill);
  EXPECT_TRUE(mask.keep_sum);
}

TEST(RandomGroups, HaveTheSameCountPerLayerOutsideTheGroup) {
  const RoutedModel model = model_of(3, 16, 2);
  const std::vector<RoutedExpert> group = {{0, 1}, {2, 5}, {2, 6}};
  std::set<std::vector<RoutedExpert>> seen;
  for (int64_t draw = 0; draw < 40; ++draw) {
    const auto drawn = random_group(group, model, 0, draw);
    EXPECT_EQ(drawn, random_group(group, model, 0, draw));
    ASSERT_EQ(drawn.size(), 3u);
    std::map<int64_t, int> per_layer;
    for (const RoutedExpert& expert : drawn) {
      ++per_layer[expert.layer];
      EXPECT_EQ(std::count(group.begin(), group.end(), expert), 0);
    }
    EXPECT_EQ(per_layer, (std::map<int64_t, int>{{0, 1}, {2, 2}}));
    EXPECT_EQ(std::set<RoutedExpert>(drawn.begin(), drawn.end()).size(), 3u);
    seen.insert(drawn);
  }
  EXPECT_GT(seen.size(), 30u);
}

TEST(Partners, AreOfTheSameLayerWithinATenthOfTheUsage) {
  const std::vector<RoutedExpert> group = {{0, 0}, {1, 3}};
  const std::map<int64_t, std::vector<double>> usage = {{0, {0.20, 0.22, 0.18, 0.221}}, {1, {0.1, 0.1, 0.1, 0.3}}};
  const Partners partners = partners_within(group, usage, 0.1);
  EXPECT_EQ(partners[0], (std::vector<RoutedExpert>{{0, 1}, {0, 2}}));
  EXPECT_TRUE(partners[1].empty());
  EXPECT_EQ(matched_group(partners, 0, 0).size(), 1u);
}

TEST(Partners, AreMatchedAsManyAsPossibleAndNeverTwice) {
  // The first may take any of three, the others only one each: a careless choice would leave one without.
  const Partners partners = {{{0, 4}, {0, 5}, {0, 6}}, {{0, 4}}, {{0, 5}}};
  std::set<std::vector<RoutedExpert>> seen;
  for (int64_t draw = 0; draw < 30; ++draw)
    EXPECT_EQ(matched_group(partners, 0, draw), (std::vector<RoutedExpert>{{0, 4}, {0, 5}, {0, 6}})) << draw;
  const Partners shared = {{{0, 4}}, {{0, 4}}};
  EXPECT_EQ(matched_group(shared, 0, 0).size(), 1u);
}

TEST(Partners, DrawsDiffer) {
  Partners partners;
  for (int i = 0; i < 3; ++i) {
    auto& able = partners.emplace_back();
    for (int32_t e = 4; e < 16; ++e) able.push_back({0, e});
  }
  std::set<std::vector<RoutedExpert>> seen;
  for (int64_t draw = 0; draw < 20; ++draw) seen.insert(matched_group(partners, 0, draw));
  EXPECT_GT(seen.size(), 12u);
}

TEST(AmongDraws, CountsDistinctSetsOnly) {
  // By hand: distinct draws 1, 2, 3 (the second set twice); value 3: one as extreme, p = 2/4; z = (3 - 2) / 1.
  const std::vector<std::vector<RoutedExpert>> sets = {{{0, 1}}, {{0, 2}}, {{0, 2}}, {{0, 3}}};
  const std::vector<double> draws = {1, 2, 2, 3};
  const AmongDraws place = place_among(3, draws, sets);
  EXPECT_EQ(place.distinct_sets, 3);
  EXPECT_DOUBLE_EQ(place.p, 0.5);
  EXPECT_DOUBLE_EQ(*place.z, 1);
  const std::vector<double> flat = {2, 2, 2, 2};
  EXPECT_FALSE(place_among(3, flat, sets).z);
  EXPECT_EQ(place_among(3, flat, sets).reason, "the draws do not vary");
  EXPECT_DOUBLE_EQ(place_among(3, flat, sets).p, 0.25);
}

}  // namespace
}  // namespace fare
