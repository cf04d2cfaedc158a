// The reduced control models against the engine: every margin, every answer, every dose.
#include <gtest/gtest.h>

#include <numbers>

#include "fare/calibration/simulated_subject.h"
#include "fare/core/error.h"
#include "fare/diagnosis/candidates.h"
#include "fare/diagnosis/control_study_test.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

// Edits of several kinds, so that routes, weights and refills all count.
std::vector<Intervention> some_edits(const Geometry& g) {
  std::vector<Intervention> edits;
  const auto add = [&](const std::string& name, EditOp op, std::vector<int64_t> layers = {}) {
    Intervention one;
    one.name = name;
    one.edits.push_back({std::move(op), std::move(layers), {}});
    edits.push_back(std::move(one));
  };
  std::vector<int32_t> planted(g.planted.begin(), g.planted.end());
  add("mask", Mask{planted, Mask::Mode::kRefill, true});
  add("raw mask", Mask{{0, 3, 5}, Mask::Mode::kRefill, false});
  add("shift", AddLogit{{0, 2, planted[0]}, {1.5, -2, -1.3}, AddLogit::Affects::kSelectionAndWeight, true},
      {g.bias_layer});
  add("reweight", Reweight{planted, std::vector<double>(planted.size(), 1.0), 0.7});
  add("k", SetTopK{2});
  return edits;
}

class EveryKind : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(EveryKind, SaysWhatTheEngineSays) {
  const auto& [id, weights] = GetParam();
  const ControlOptions options = small_control(id, weights);
  ControlStudy engine(options);
  const SimulatedModel model(build_control_model(options, 2));
  const Progress progress;
  SimulatedSubject subject(model, model.critical().own_noise(), 0, progress);
  const std::vector<Intervention> edits = some_edits(model.world().geometry);
  std::vector<const Intervention*> asked = {nullptr};
  for (const Intervention& edit : edits) asked.push_back(&edit);
  Items items;
  items.part = "all";
  for (size_t i = 0; i < engine.study.pairs.size(); ++i) {
    items.pairs.push_back(static_cast<int64_t>(i));
    ASSERT_EQ(engine.study.pairs[i].pair.id, subject.study().pairs[i].pair.id);
    ASSERT_EQ(engine.study.pair_splits.part[i], subject.study().pair_splits.part[i]);
  }
  for (size_t i = 0; i < engine.study.transfer.size(); ++i) items.transfer.push_back(static_cast<int64_t>(i));
  for (size_t i = 0; i < engine.study.utility.size(); ++i) {
    items.utility.push_back(static_cast<int64_t>(i));
    ASSERT_EQ(engine.study.utility_splits.part[i], subject.study().utility_splits.part[i]);
  }
  const std::vector<Outcomes> computed = engine.measurer->evaluate(items, asked),
                              reduced = subject.evaluate(items, asked);
  const std::vector<Dose> doses = engine.measurer->doses(asked, 1000), reduced_doses = subject.doses(asked, 1000);
  for (size_t i = 0; i < asked.size(); ++i) {
    const std::string name = i == 0 ? "base" : edits[i - 1].name;
    double furthest = 0;
    for (size_t p = 0; p < computed[i].pairs.size(); ++p)
      furthest = std::max(furthest, std::abs(computed[i].pairs[p].sum - reduced[i].pairs[p].sum));
    EXPECT_LE(furthest, 1e-4) << name;
    int64_t differ = 0;
    for (size_t u = 0; u < computed[i].utility.size(); ++u)
      differ += computed[i].utility[u].correct != reduced[i].utility[u].correct;
    EXPECT_EQ(differ, 0) << name << " of " << computed[i].utility.size();
    EXPECT_NEAR(reduced_doses[i].kl_nats, doses[i].kl_nats, 1e-6 + 1e-3 * doses[i].kl_nats) << name;
    EXPECT_NEAR(reduced_doses[i].log_perplexity_change, doses[i].log_perplexity_change, 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Lab, EveryKind,
                         testing::Values(std::pair{"X1", "renormalised"}, std::pair{"X1", "raw"},
                                         std::pair{"X2", "renormalised"}, std::pair{"X2", "raw"},
                                         std::pair{"X3", "renormalised"}, std::pair{"X4", "renormalised"},
                                         std::pair{"X5", "renormalised"}, std::pair{"X7", "renormalised"},
                                         std::pair{"X8", "renormalised"}, std::pair{"X9", "renormalised"},
                                         std::pair{"X10n", "raw"}, std::pair{"X12", "renormalised"},
                                         std::pair{"X13", "renormalised"}, std::pair{"X15", "raw"}),
                         [](const auto& tested) { return tested.param.first + "_" + tested.param.second; });

TEST(Noise, ChangesTheShareOfPairsAskedFor) {
  // With b = 0 methods E5 gives the correlation in closed form: cos(pi p_d).
  EXPECT_NEAR(std::cos(noise_angle(0, 0, 2, 0.10)), std::cos(std::numbers::pi * 0.10), 1e-3);
  EXPECT_NEAR(changed_share(0.61, 0.61, 2, noise_angle(0.61, 0.61, 2, 0.02)), 0.02, 1e-4);
  EXPECT_NEAR(changed_share(0.61, 0.1, 2, noise_angle(0.61, 0.1, 2, 0.15)), 0.15, 1e-4);
  EXPECT_THROW(noise_angle(0.61, 0, 2, 0.02), UsageError);
}

}  // namespace
}  // namespace fare
