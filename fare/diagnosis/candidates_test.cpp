#include "fare/diagnosis/candidates.h"

#include <gtest/gtest.h>

#include <set>

#include "fare/core/error.h"
#include "fare/routing/route_table.h"

namespace fare {
namespace {

RoutedModel model_of(int64_t num_layers, int64_t num_experts, int64_t top_k) {
  RoutedModel model;
  model.num_layers = num_layers + 1;
  for (int64_t l = 1; l <= num_layers; ++l) model.moe_layers.push_back(l);  // layer 0 is dense
  model.router.num_experts = num_experts;
  model.router.top_k = top_k;
  return model;
}

int64_t eligible(const std::vector<Configuration>& grid) {
  int64_t n = 0;
  for (const Configuration& c : grid) n += !c.random_ranking;
  return n;
}

TEST(Grid, FullHas1440ConfigurationsAnd160Controls) {
  // 3 families x 3 scores x 5 breadths x 4 strengths x 4 layer sets x 2 signs; thirds of 16 layers hold 5 x 128
  // experts.
  const auto grid = make_grid(DiagnosisOptions::of(StudyProfile::kFull), model_of(16, 128, 8));
  EXPECT_EQ(eligible(grid), 1440 + 4);  // I4 and I5 join once per sign
  EXPECT_EQ(grid.size(), 1600u + 4u);
  std::set<std::string> names;
  for (size_t i = 0; i < grid.size(); ++i) {
    EXPECT_EQ(grid[i].id, static_cast<int64_t>(i));
    EXPECT_TRUE(names.insert(configuration_name(grid[i])).second) << configuration_name(grid[i]);
  }
}

TEST(Grid, SmallHas96Configurations) { EXPECT_EQ(eligible(make_grid(DiagnosisOptions{}, model_of(16, 64, 8))), 96); }

TEST(Grid, BreadthIsClippedToHalfTheLayerSetAndDoublesAreDropped) {
  // 2 layers x 16 experts: half is 16, so 10, 50, 200 become 10, 16; two layers have no thirds.
  const auto grid = make_grid(DiagnosisOptions{}, model_of(2, 16, 2));
  EXPECT_EQ(eligible(grid), 2 * 2 * 2 * 2 * 1 * 2);
  for (const Configuration& c : grid) {
    EXPECT_TRUE(c.k == 10 || c.k == 16) << c.k;
    EXPECT_EQ(c.layers, "all");
  }
  // 3 layers x 16: all 24 experts, a third 8.
  std::set<std::pair<std::string, int64_t>> breadths;
  for (const Configuration& c : make_grid(DiagnosisOptions{}, model_of(3, 16, 2))) breadths.emplace(c.layers, c.k);
  EXPECT_EQ(breadths, (std::set<std::pair<std::string, int64_t>>{{"all", 10}, {"all", 24}, {"late", 8}}));
}

TEST(Grid, SingleFamiliesJoinOncePerSign) {
  DiagnosisOptions options;
  options.families = {"I1", "I4", "I5"};
  options.random_controls = 0;
  int64_t forced = 0, scaled = 0;
  for (const Configuration& c : make_grid(options, model_of(16, 64, 8))) {
    forced += c.family == "I4";
    scaled += c.family == "I5";
  }
  EXPECT_EQ(forced, 2);
  EXPECT_EQ(scaled, 2);
}

TEST(Grid, UnknownNamesAndEmptyGridsAreUsageErrors) {
  DiagnosisOptions options;
  options.scores = {"s9"};
  EXPECT_THROW(make_grid(options, model_of(4, 8, 2)), UsageError);
  options = {};
  options.layer_sets = {"late"};
  EXPECT_THROW(make_grid(options, model_of(2, 8, 2)), UsageError);
  options = {};
  options.strengths = {0};
  EXPECT_THROW(make_grid(options, model_of(4, 8, 2)), UsageError);
}

TEST(LayerSets, ThirdsCoverTheMoeLayersInOrder) {
  const RoutedModel model = model_of(7, 8, 2);
  std::vector<int64_t> joined;
  for (const char* name : {"early", "middle", "late"})
    for (const int64_t l : layers_of_set(name, model)) joined.push_back(l);
  EXPECT_EQ(joined, model.moe_layers);
  EXPECT_EQ(layers_of_set("late", model), (std::vector<int64_t>{5, 6, 7}));
  EXPECT_TRUE(layers_of_set("early", model_of(2, 8, 2)).empty());
  EXPECT_THROW(layers_of_set("last", model), UsageError);
}

struct Chosen : testing::Test {
  RoutedModel model = model_of(3, 4, 2);
  ExpertScores scores;
  RouterProfile profile;

  Chosen() {
    const double s3[3][4] = {{0.5, -1, 0, 0.25}, {0, 0, 0.75, 0}, {-0.5, 0, 0, 1}};
    for (int l = 0; l < 3; ++l) {
      LayerProfile layer;
      layer.layer = l + 1;
      layer.logit_sd = 2 + l;
      profile.layers.push_back(layer);
      for (int e = 0; e < 4; ++e) scores.experts.push_back({.layer = l + 1, .expert = e, .s3 = s3[l][e]});
    }
  }
  static Configuration configuration(const std::string& family, int64_t k, double lambda, int sign = 1) {
    return {.family = family, .score = "s3", .k = k, .lambda = lambda, .sign = sign};
  }
};

TEST_F(Chosen, AreTheStrongestWithTiesByLayerThenExpertAndZerosLeftOut) {
  const auto experts = chosen_experts(configuration("I1", 4, 1), scores, model, 0);
  ASSERT_EQ(experts.size(), 4u);
  EXPECT_EQ(std::pair(experts[0].layer, experts[0].expert), std::pair(int64_t{1}, 1));
  EXPECT_EQ(experts[0].score, -1);
  EXPECT_EQ(std::pair(experts[1].layer, experts[1].expert), std::pair(int64_t{3}, 3));
  EXPECT_EQ(std::pair(experts[2].layer, experts[2].expert), std::pair(int64_t{2}, 2));
  EXPECT_EQ(std::pair(experts[3].layer, experts[3].expert), std::pair(int64_t{1}, 0));  // before layer 3
  EXPECT_EQ(chosen_experts(configuration("I1", 12, 1), scores, model, 0).size(), 6u);
}

TEST_F(Chosen, LogitShiftIsMinusLambdaSigmaScoreAndKeepsTheSum) {
  const auto experts = chosen_experts(configuration("I1", 2, 3), scores, model, 0);
  const Intervention plus = make_intervention(configuration("I1", 2, 3), experts, profile, 2);
  ASSERT_EQ(plus.edits.size(), 2u);
  const auto& first = std::get<AddLogit>(plus.edits[0].op);
  EXPECT_EQ(plus.edits[0].layers, std::vector<int64_t>{1});
  EXPECT_EQ(first.experts, std::vector<int32_t>{1});
  EXPECT_DOUBLE_EQ(first.values[0], -3 * 2 * -1.0);
  EXPECT_TRUE(first.keep_sum);
  EXPECT_EQ(first.affects, AddLogit::Affects::kSelectionAndWeight);
  EXPECT_DOUBLE_EQ(std::get<AddLogit>(plus.edits[1].op).values[0], -3 * 4 * 1.0);
  const Intervention minus = make_intervention(configuration("I3", 2, 3, -1), experts, profile, 2);
  EXPECT_DOUBLE_EQ(std::get<AddLogit>(minus.edits[0].op).values[0], -6.0);
  EXPECT_EQ(std::get<AddLogit>(minus.edits[0].op).affects, AddLogit::Affects::kSelection);
  plus.check(model);
  minus.check(model);
}

TEST_F(Chosen, ReweightForceAndMultiplierFollowTheSignOfTheScore) {
  const auto experts = chosen_experts(configuration("I2", 6, 2), scores, model, 0);
  const Intervention reweight = make_intervention(configuration("I2", 6, 2, -1), experts, profile, 2);
  const auto& edit = std::get<Reweight>(reweight.edits[0].op);
  EXPECT_EQ(edit.experts, (std::vector<int32_t>{1, 0, 3}));
  EXPECT_EQ(edit.scores, (std::vector<double>{1, -0.5, -0.25}));
  EXPECT_EQ(edit.lambda, 2);

  // Reversed, layer 1 would force two experts on: the model runs two, so both; with top_k 1 only the stronger.
  const Intervention forced = make_intervention(configuration("I4", 6, 1, -1), experts, profile, 1);
  EXPECT_EQ(std::get<Deactivate>(forced.edits[0].op).experts, std::vector<int32_t>{1});
  EXPECT_EQ(std::get<Activate>(forced.edits[1].op).experts, std::vector<int32_t>{0});

  const Intervention scaled = make_intervention(configuration("I5", 6, 1), experts, profile, 2);
  const auto& down = std::get<ScaleWeight>(scaled.edits[0].op);
  const auto& up = std::get<ScaleWeight>(scaled.edits[1].op);
  EXPECT_EQ(down.experts, (std::vector<int32_t>{0, 3}));
  EXPECT_DOUBLE_EQ(down.factor, std::exp(-1.0));
  EXPECT_EQ(up.experts, std::vector<int32_t>{1});
  EXPECT_DOUBLE_EQ(up.factor, std::exp(1.0));
  EXPECT_TRUE(down.keep_sum && up.keep_sum);
}

TEST_F(Chosen, ControlsRankAtRandomAndDoNotReadTheScores) {
  Configuration control = configuration("I1", 5, 1);
  control.random_ranking = true;
  control.id = 7;
  const auto experts = chosen_experts(control, scores, model, 0);
  const auto blind = chosen_experts(control, ExpertScores{}, model, 0);
  ASSERT_EQ(experts.size(), 5u);
  std::set<std::pair<int64_t, int32_t>> first, other;
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(experts[i].score, blind[i].score);
    EXPECT_LE(std::abs(experts[i].score), 1);
    first.emplace(experts[i].layer, experts[i].expert);
  }
  control.id = 8;
  for (const ChosenExpert& expert : chosen_experts(control, scores, model, 0))
    other.emplace(expert.layer, expert.expert);
  EXPECT_NE(first, other);
}

}  // namespace
}  // namespace fare
