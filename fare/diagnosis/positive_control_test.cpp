// A random model has no preference of its own: what is planted must be found, and an expert that says nothing must not.
#include "fare/diagnosis/positive_control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "fare/core/philox.h"
#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/lab/random_model.h"

namespace fare {
namespace {

struct RandomStudy {
  explicit RandomStudy(int64_t pairs = 300, int64_t utility = 520) : folder("planted-random") {
    RandomModelOptions shape;
    shape.hidden = 64;
    shape.layers = 2;
    shape.experts = 16;
    shape.top_k = 4;
    shape.expert_width = 32;
    make_random_model(shape, folder.path());
    model = Model::open(folder.path(), {});
    tokenizer = Tokenizer::open(folder.path());
    encoder = std::make_unique<TextEncoder>(*tokenizer);
    scorer = std::make_unique<Scorer>(*model, ScorerOptions{});
    const RandomStream draws(5, "test/words");
    constexpr std::array kAdjectives = {"red", "tall", "kind", "loud", "calm", "rich"};
    constexpr std::array kVerbs = {"eats", "sees", "buys", "cuts"};
    constexpr std::array kEnds = {"bread", "stone", "cloth", "wine"};
    StudyItems items;
    for (int64_t i = 0; i < pairs; ++i) {
      const auto pick = [&](const auto& list, uint64_t d) {
        return std::string(list[draws.index(static_cast<uint64_t>(i) * 8 + d, list.size())]);
      };
      const std::string begin = pick(kAdjectives, 0) + " " + pick(kAdjectives, 1) + " ",
                        end = " " + pick(kVerbs, 2) + " the " + pick(kEnds, 3);
      items.pairs.push_back({.id = "p" + std::to_string(i),
                             .cluster = "c" + std::to_string(i),
                             .axis = "age",
                             .stereo = begin + "elder" + end,
                             .anti = begin + "youth" + end});
    }
    for (int64_t i = 0; i < utility; ++i)
      items.utility.push_back({.id = "u" + std::to_string(i),
                               .cluster = "u" + std::to_string(i),
                               .task = "sums",
                               .context = "sum " + std::to_string(i * 7919 % 1000),
                               .choices = {" a", " b"},
                               .gold = {i % 2}});
    for (int i = 0; i < 40; ++i) items.neutral.push_back("water runs over stone " + std::to_string(i * i));
    for (const char* role : {"pairs", "utility", "neutral"}) {
      Study::SourceFile file;
      file.role = role;
      items.files.push_back(file);
    }
    study = make_study(items, *encoder, model->spec().max_positions, model->spec().vocab_size, 0);
    input.encoder = encoder.get();
    options.families = {"I1"};
    options.breadths = {1, 4};
    options.strengths = {1, 4};
    options.layer_sets = {"all"};
    options.random_controls = 4;
    options.bootstrap_replicates = 500;
    options.permutations = 999;
    options.half_samples = 10;
    options.positive_control = true;
  }
  TestFolder folder;
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TextEncoder> encoder;
  std::unique_ptr<Scorer> scorer;
  Study study;
  DiagnosisOptions options;
  PositiveControlInput input;
  Progress progress;
};

TEST(PositiveControl, AnExpertThatCarriesTenPointsIsFoundAndTheLimitIsSaid) {
  RandomStudy made;
  made.options.thresholds.shift_pp = 5.5;  // two sizes are planted: 10 and 7
  const PositiveControl control =
      run_positive_control(*made.scorer, made.study, made.input, made.options, made.progress);
  ASSERT_EQ(control.obstacle, "");
  EXPECT_TRUE(control.invented);
  EXPECT_EQ(control.expert, 16);
  EXPECT_EQ(control.layer, 1);
  EXPECT_EQ(control.pairs, 300);
  EXPECT_GT(control.on_group, 0.8);
  EXPECT_LT(control.on_other, 0.3);
  ASSERT_FALSE(control.levels.empty());
  const PlantedLevel& largest = control.levels.front();
  EXPECT_NEAR(largest.planted_pp, 10, 1);
  EXPECT_TRUE(largest.found) << largest.headline.sentence;
  EXPECT_GT(largest.shift_pp, 3);
  ASSERT_TRUE(control.found_pp) << control.found_reason;
  EXPECT_LE(*control.found_pp, largest.planted_pp);
  for (size_t i = 1; i < control.levels.size(); ++i)
    EXPECT_LT(control.levels[i].asked_pp, control.levels[i - 1].asked_pp);
  const OrderedJson json = positive_control_json(control);
  EXPECT_EQ(json["levels"].size(), control.levels.size());
  EXPECT_EQ(json["planted"]["group"], control.group);
  EXPECT_NE(positive_control_text(control).find("detection limit"), std::string::npos)
      << positive_control_text(control);
}

TEST(PositiveControl, AnExpertThatSaysNothingGivesNoLimitButAReason) {
  RandomStudy made(60, 20);
  made.input.output_factor = 0;
  const PositiveControl control =
      run_positive_control(*made.scorer, made.study, made.input, made.options, made.progress);
  EXPECT_FALSE(control.limit_pp);
  EXPECT_NE(control.obstacle.find("does not raise the preference"), std::string::npos) << control.obstacle;
  const OrderedJson json = positive_control_json(control);
  EXPECT_TRUE(json["detection_limit_pp"].is_null());
  EXPECT_EQ(json["detection_limit_pp_reason"], control.obstacle);
  EXPECT_TRUE(json["levels"].empty());
}

TEST(PositiveControl, AMarginAboveEveryPlantedSizeIsSaid) {
  RandomStudy made(60, 20);
  made.options.thresholds.shift_pp = 12;
  const PositiveControl control =
      run_positive_control(*made.scorer, made.study, made.input, made.options, made.progress);
  EXPECT_NE(control.obstacle.find("delta_B of 12.0 pp"), std::string::npos) << control.obstacle;
}

// The scale of a layer's logits, in which edits are measured, is that of the experts it has.
TEST(PositiveControl, AnAbsentExpertDoesNotWidenALayersLogits) {
  RandomStudy made(30, 10);
  Graft graft{1, at::zeros({64}), {}};
  graft.expert.gate_ID = graft.expert.up_ID = at::zeros({1, 64});
  graft.expert.down_DI = at::zeros({64, 1});
  const auto grafted = Model::grafted(*made.model, graft);
  const Scorer scorer(*grafted, ScorerOptions{});
  Measurer plain(*made.scorer, made.study, nullptr, made.progress), with(scorer, made.study, nullptr, made.progress);
  const LayerProfile before = profile_router(plain).at(0), after = profile_router(with).at(0);
  EXPECT_DOUBLE_EQ(after.logit_sd, before.logit_sd);
  EXPECT_DOUBLE_EQ(after.router_entropy, before.router_entropy);
  EXPECT_DOUBLE_EQ(after.boundary_margin, before.boundary_margin);
  EXPECT_EQ(after.usage_E.back(), 0);
}

}  // namespace
}  // namespace fare
