#include "fare/diagnosis/replay.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/neutral_text.h"

namespace fare {
namespace {

Items all_items(const Study& study) {
  Items items;
  items.part = "replay-test";
  items.pairs.resize(study.pairs.size());
  items.utility.resize(study.utility.size());
  std::iota(items.pairs.begin(), items.pairs.end(), 0);
  std::iota(items.utility.begin(), items.utility.end(), 0);
  return items;
}

const std::vector<RoutedExpert> kPlanted = {{1, 14}, {1, 15}};

double accuracy(const Outcomes& outcomes) {
  double correct = 0;
  for (const UtilityOutcome& one : outcomes.utility) correct += one.correct;
  return correct / static_cast<double>(outcomes.utility.size());
}

void expect_close(const Outcomes& a, const Outcomes& b, const char* what) {
  for (size_t i = 0; i < a.pairs.size(); ++i)
    ASSERT_NEAR(a.pairs[i].sum, b.pairs[i].sum, 1e-5) << what << " pair " << i;
  for (size_t i = 0; i < a.utility.size(); ++i)
    ASSERT_NEAR(a.utility[i].margin, b.utility[i].margin, 1e-5) << what << " item " << i;
}

// X12: the masked experts hold no fact; what is lost is lost through the next layer's routes.
TEST(Replay, TakesApartWhatGoesThroughLaterRoutes) {
  ControlStudy control(small_control("X12"));
  const Items items = all_items(control.study);
  const Outcomes base = control.measurer->base(items);
  const Intervention mask = mask_intervention(kPlanted, "mask");
  const Intervention* asked = &mask;
  const Outcomes masked = control.measurer->evaluate(items, {&asked, 1}).front();
  const std::vector<ReplayTask> tasks = {{ReplayKind::kRefill, kPlanted}};
  const ReplayResult result = replay(*control.measurer, items, tasks, {}).front();
  expect_close(result.total, masked, "total");
  // Every fact is lost, none of it directly; all of the stereotype goes directly.
  EXPECT_GT(accuracy(base) - accuracy(result.total), 0.5);
  EXPECT_DOUBLE_EQ(accuracy(*result.direct), accuracy(base));
  EXPECT_DOUBLE_EQ(accuracy(*result.routing_only), accuracy(result.total));
  for (size_t i = 0; i < base.pairs.size(); ++i) {
    ASSERT_NEAR(result.direct->pairs[i].sum, result.total.pairs[i].sum, 1e-4);
    ASSERT_NEAR(result.routing_only->pairs[i].sum, base.pairs[i].sum, 1e-4);
  }
  ASSERT_EQ(result.later.size(), 1u);
  EXPECT_EQ(result.later[0].layer, 2);
  EXPECT_GT(result.later[0].changed_share, 0);
  EXPECT_GT(result.later[0].js_bits, 0);
}

TEST(Replay, NothingFollowsTheLastLayer) {
  ControlStudy control(small_control("X1"));
  const Items items = all_items(control.study);
  const Outcomes base = control.measurer->base(items);
  const std::vector<ReplayTask> tasks = {{ReplayKind::kRefill, kPlanted}, {ReplayKind::kConditional, kPlanted}};
  ReplayOptions options;
  const auto without_tokens = replay(*control.measurer, items, tasks, options);
  EXPECT_TRUE(without_tokens[0].later.empty());
  expect_close(*without_tokens[0].direct, without_tokens[0].total, "direct");
  expect_close(*without_tokens[0].routing_only, base, "routing only");
  expect_close(without_tokens[1].total, base, "a mask near no token");
  options.demographic_tokens = demographic_tokens(*control.measurer, items.pairs);
  EXPECT_FALSE(options.demographic_tokens.empty());
  const auto near = replay(*control.measurer, items, tasks, options);
  for (size_t i = 0; i < base.pairs.size(); ++i)
    ASSERT_NEAR(near[1].total.pairs[i].sum, near[0].total.pairs[i].sum, 1e-5);
  EXPECT_DOUBLE_EQ(accuracy(near[1].total), accuracy(base));
}

TEST(Replay, StandInsTakeThePlaceOfOutputs) {
  ControlStudy control(small_control("X1"));
  const Items items = all_items(control.study);
  const std::vector<ReplayTask> tasks = {
      {ReplayKind::kMean, kPlanted}, {ReplayKind::kResample, kPlanted}, {ReplayKind::kRefill, kPlanted}};
  ReplayOptions options;
  const auto results = replay(*control.measurer, items, tasks, options);
  const auto again = replay(*control.measurer, items, tasks, options);
  const Outcomes base = control.measurer->base(items);
  // Stereotype rows are silent on neutral text, so either stand-in removes the stereotype as refill does.
  for (size_t i = 0; i < base.pairs.size(); ++i) {
    ASSERT_GT(std::abs(results[0].total.pairs[i].sum - base.pairs[i].sum), 0.01);
    EXPECT_EQ(results[1].total.pairs[i].sum, again[1].total.pairs[i].sum);
  }
  const auto doses = stand_in_doses(*control.measurer, tasks, options);
  EXPECT_GT(*doses[0], 0);
  EXPECT_GT(*doses[1], 0);
  EXPECT_FALSE(doses[2]);
}

// An expert whose stand-in is its own output at that row changes nothing.
TEST(ReplayPass, AnExpertsOwnOutputsInItsPlaceChangeNothing) {
  ControlStudy control(small_control("X1"));
  const NeutralText neutral(*control.measurer, 200);
  at::Tensor input_TD;
  PassOptions options;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kRouterInput && layer == 1) input_TD = value;
  };
  const at::Tensor base = replay_pass(*control.model, neutral.pack(), options);
  EXPECT_TRUE(at::equal(base, forward(*control.model, neutral.pack())));
  const at::Tensor own =
      expert_output(input_TD, control.model->family().expert(1, 3), control.model->execution().backend);
  const at::Tensor constant = own.mean(0, true).to(at::kFloat);
  StandIns mean;
  mean.outputs_ND[1][3] = constant;
  PassOptions stand_in;
  stand_in.stand_ins = &mean;
  const at::Tensor changed = replay_pass(*control.model, neutral.pack(), stand_in);
  EXPECT_GT((changed - base).abs().max().item<float>(), 0);
  EXPECT_NEAR(neutral.kl_nats(base, base), 0, 1e-12);
  EXPECT_GT(neutral.kl_nats(base, changed), 0);
  // By hand at one row: base - g E(x) + g mean.
  Route route;
  PassOptions watch;
  watch.on_decision = [&](int64_t layer, const at::Tensor&, const Decision& decision) {
    if (layer == 1) route = decision.after;
  };
  replay_pass(*control.model, neutral.pack(), watch);
  const at::Tensor chose = (route.ids_TK == 3);
  ASSERT_TRUE(chose.any().item<bool>());
  const at::Tensor weight_T1 = (route.weights_TK * chose.to(at::kFloat)).sum(1, true);
  const at::Tensor expected = base + weight_T1 * (constant - own.to(at::kFloat));
  EXPECT_TRUE(at::allclose(changed, expected, 1e-4, 1e-4));
}

}  // namespace
}  // namespace fare
