#include "fare/diagnosis/route_examples.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

// X1: experts 14 and 15 of layer 1 hold the stereotype and are chosen at the trait's relation.
struct Routes : testing::Test {
  Routes() : control(small_control("X1")), study(control.study) {
    candidate.name = "mask";
    candidate.intervention.name = "mask";
    test.pairs = study.pairs_in(SplitPart::kTest);
    Items all;
    all.part = "routes";
    for (size_t i = 0; i < study.pairs.size(); ++i) all.pairs.push_back(static_cast<int64_t>(i));
    test.base = control.measurer->base(all);
    signs.assign(study.axes.size(), 1);
  }
  RouteExamples examples_of(const std::string& edits) {
    candidate.intervention = Intervention::parse(
        Json{{"format", "fare-intervention/1"}, {"name", "mask"}, {"edits", Json::parse(edits)}}, "test");
    Items all;
    all.part = "routes";
    for (size_t i = 0; i < study.pairs.size(); ++i) all.pairs.push_back(static_cast<int64_t>(i));
    const Intervention* one = &candidate.intervention;
    edited = control.measurer->evaluate(all, {&one, 1}).front();
    return route_examples(*control.measurer, candidate, test, edited, signs);
  }
  ControlStudy control;
  const Study& study;
  SearchCandidate candidate;
  TestOutcomes test;
  Outcomes edited;
  std::vector<int> signs;
};

TEST_F(Routes, BeforeAndAfterAreThoseOfTheModelAndTheEdits) {
  const RouteExamples found = examples_of(R"([{"op": "mask", "layers": [1], "experts": [14, 15], "mode": "refill"}])");
  ASSERT_TRUE(found.reason.empty());
  ASSERT_EQ(found.pairs.size(), 3u);  // masking what holds the stereotype raises no pair
  for (const RouteExample& example : found.pairs) EXPECT_EQ(example.choice, "lowered most");
  // No test pair falls further than the first.
  double most = 0;
  for (const int64_t i : test.pairs)
    most = std::max(most, test.base.pairs[static_cast<size_t>(i)].sum - edited.pairs[static_cast<size_t>(i)].sum);
  EXPECT_EQ(found.pairs.front().base_nats - found.pairs.front().edited_nats, most);
  int64_t masked = 0, moved = 0;
  for (const RouteStep& step : found.steps) {
    EXPECT_EQ(step.base_experts.size(), 3u);
    for (const int32_t expert : step.edited_experts) EXPECT_FALSE(step.layer == 1 && expert >= 14);
    const bool used =
        std::any_of(step.base_experts.begin(), step.base_experts.end(), [](int32_t e) { return e >= 14; });
    masked += used && step.layer == 1;
    moved += step.moved > 1e-6;  // less is rounding
    if (step.layer == 1) {
      EXPECT_EQ(step.moved > 1e-6, used);
    } else if (step.layer < 1) {
      EXPECT_EQ(step.moved, 0);
    }
    EXPECT_TRUE(std::is_sorted(step.base_weights.rbegin(), step.base_weights.rend()));
  }
  EXPECT_GT(masked, 0);
  EXPECT_GE(moved, masked);
  const EncodedPair& first = study.pairs[static_cast<size_t>(found.pairs.front().pair)];
  EXPECT_EQ(found.steps.front().token, fed_part(first.stereo, 64, control.model->spec().vocab_size)
                                           .ids[static_cast<size_t>(found.steps.front().position)]);

  OrderedJson report;
  put_route_examples(report, found, study, [](int32_t token) { return fmt::format("t{}", token); });
  EXPECT_EQ(report["route_examples"]["steps"].size(), found.steps.size());
  EXPECT_EQ(report["route_examples"]["pairs"][0]["pair"], first.pair.id);
}

TEST_F(Routes, TheSignOfTheAxisSaysWhatLowers) {
  signs.assign(study.axes.size(), -1);
  const RouteExamples found = examples_of(R"([{"op": "mask", "layers": [1], "experts": [14, 15], "mode": "refill"}])");
  ASSERT_EQ(found.pairs.size(), 1u);
  EXPECT_EQ(found.pairs.front().choice, "raised most");
}

TEST_F(Routes, EditsWithoutEffectHaveNoExample) {
  const RouteExamples found = examples_of(R"([{"op": "temperature", "layers": [0], "value": 1.0}])");
  OrderedJson report;
  put_route_examples(report, found, study, {});
  EXPECT_TRUE(report["route_examples"].is_null());
  EXPECT_EQ(report["route_examples_reason"], "the candidate changes the margin of no test pair");
}

}  // namespace
}  // namespace fare
