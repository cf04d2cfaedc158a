#include "fare/routing/route.h"

#include <gtest/gtest.h>

#include <limits>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/routing/route_testing.h"

namespace fare {
namespace {

using namespace testing;

// Router vectors computed with public reference code of the model families, given to six digits.
at::Tensor vector_logits() { return at::tensor({1.0f, 0.5f, 2.0f, -1.0f, 0.0f, 1.5f}).view({1, 6}); }

at::Tensor random_logits(int64_t num_rows, int64_t num_experts, uint32_t seed) {
  const RandomStream stream(seed, "test/logits");
  at::Tensor logits = at::empty({num_rows, num_experts});
  for (int64_t i = 0; i < logits.numel(); ++i)
    logits.mutable_data_ptr<float>()[i] = static_cast<float>(6 * stream.uniform(static_cast<uint64_t>(i)) - 3);
  return logits;
}

TEST(Route, ScoresAreASoftmaxOverAllExperts) {
  const std::vector<double> expected = {0.154398, 0.093647, 0.419699, 0.020896, 0.056800, 0.254560};
  const at::Tensor scores = router_scores(vector_logits());
  for (int64_t e = 0; e < 6; ++e) EXPECT_NEAR(scores[0][e].item<float>(), expected[e], 5e-7);
}

TEST(Route, RawWeightsAreTheScores) {
  const Decision decision = route(vector_logits(), spec_of(6, 3, WeightMode::kRaw));
  expect_row(decision.before, 0, {{2, 0.419699}, {5, 0.254560}, {0, 0.154398}}, "unnormalised", 5e-7);
}

TEST(Route, RenormalisedWeightsSumToOne) {
  const Decision decision = route(vector_logits(), spec_of(6, 3, WeightMode::kRenormalised));
  expect_row(decision.before, 0, {{2, 0.506480}, {5, 0.307196}, {0, 0.186324}}, "normalised", 5e-7);
}

TEST(Route, ACorrectionBiasActsOnSelectionOnly) {
  RouterSpec spec = spec_of(6, 3, WeightMode::kRenormalised);
  spec.selection_bias = {0, 0.3f, 0, 0, 0.25f, -0.3f};
  spec.sum_minimum = 1e-12;
  expect_row(route(vector_logits(), spec).before, 0, {{2, 0.736125}, {1, 0.164252}, {4, 0.099624}}, "bias", 5e-7);
}

TEST(Route, GroupLimitsKeepTheBestGroups) {
  RouterSpec spec = spec_of(6, 3, WeightMode::kRaw);
  spec.num_groups = 3;
  spec.top_groups = 2;
  spec.scaling_factor = 16;
  expect_row(route(vector_logits(), spec).before, 0, {{2, 6.715177}, {5, 4.072960}, {4, 0.908800}}, "groups", 1e-5);
}

TEST(Route, FillsUpWithScoreZeroWhenTheKeptGroupsAreTooSmall) {
  RouterSpec spec = spec_of(6, 3, WeightMode::kRaw);
  spec.num_groups = 3;
  spec.top_groups = 1;
  expect_row(route(vector_logits(), spec).before, 0, {{2, 0.419699}, {3, 0.020896}, {0, 0}}, "one group of two", 5e-7);
}

TEST(Route, TiesGoToTheLowerIndex) {
  const at::Tensor equal = at::zeros({3, 8});
  for (const WeightMode mode : kModes) {
    const double weight = mode == WeightMode::kRaw ? 0.125 : 1.0 / 3;
    expect_row(route(equal, spec_of(8, 3, mode)).before, 2, {{0, weight}, {1, weight}, {2, weight}}, name_of(mode));
  }
  const at::Tensor pairs = at::tensor({1.0f, 2.0f, 2.0f, 1.0f}).view({1, 4});
  const Route kept = route(pairs, spec_of(4, 3, WeightMode::kRaw)).before;
  EXPECT_EQ(kept.ids_TK[0][0].item<int32_t>(), 1);
  EXPECT_EQ(kept.ids_TK[0][1].item<int32_t>(), 2);
  EXPECT_EQ(kept.ids_TK[0][2].item<int32_t>(), 0);
}

TEST(Route, SelectionByLogitTellsApartWhatScoresDoNot) {
  // Scores of experts 1 to 3 underflow to 0; by score alone the lower index would win.
  const at::Tensor logits = at::tensor({0.0f, -300.0f, -200.0f, -250.0f}).view({1, 4});
  RouterSpec spec = spec_of(4, 3, WeightMode::kRenormalised);
  expect_row(route(logits, spec).before, 0, {{0, 1}, {1, 0}, {2, 0}}, "by score");
  spec.select_by_logit = true;
  expect_row(route(logits, spec).before, 0, {{0, 1}, {2, 0}, {3, 0}}, "by logit");
  // Edits of the selection move logits too: expert 1 passes the others without a weight of its own.
  const Edit edit{AddLogit{{1}, {150}, AddLogit::Affects::kSelection}, {}, {}};
  const std::vector<ScopedEdit> edits{{&edit, {}, {}}};
  expect_row(route(logits, spec, edits).after, 0, {{0, 1}, {1, 0}, {2, 0}}, "edited");
  // Softmax over the chosen k, as the model does it, on the published vector.
  RouterSpec three = spec_of(6, 3, WeightMode::kRenormalised);
  three.select_by_logit = true;
  expect_row(route(vector_logits(), three).before, 0, {{2, 0.506480}, {5, 0.307196}, {0, 0.186324}}, "published", 5e-7);
}

TEST(Route, NormalisationHonoursEpsilonMinimumAndScaling) {
  RouterSpec spec = spec_of(4, 2, WeightMode::kRenormalised);
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}});
  spec.sum_epsilon = 0.1;
  expect_row(route(logits, spec).before, 0, {{0, 0.4 / 0.8}, {1, 0.3 / 0.8}}, "epsilon");
  spec.sum_epsilon = 0;
  spec.sum_minimum = 2;
  expect_row(route(logits, spec).before, 0, {{0, 0.2}, {1, 0.15}}, "minimum");
  spec.sum_minimum = 0;
  spec.scaling_factor = 2.5;
  expect_row(route(logits, spec).before, 0, {{0, 10.0 / 7}, {1, 7.5 / 7}}, "scaling");
}

TEST(Route, OneRenormalisedExpertHasWeightExactlyOne) {
  const Decision decision = route(random_logits(50, 6, 1), spec_of(6, 1, WeightMode::kRenormalised));
  EXPECT_TRUE(at::equal(decision.before.weights_TK, at::ones({50, 1})));
}

TEST(Route, KeepsAllExpertsWhenKIsE) {
  const Decision decision = route(logits_of_odds({{1, 4, 2, 3}}), spec_of(4, 4, WeightMode::kRaw));
  expect_row(decision.before, 0, {{1, 0.4}, {3, 0.3}, {2, 0.2}, {0, 0.1}});
}

TEST(Route, WithoutEditsAfterIsBefore) {
  const Decision decision = route(random_logits(20, 8, 2), spec_of(8, 2, WeightMode::kRaw));
  EXPECT_TRUE(decision.after.ids_TK.is_same(decision.before.ids_TK));
  EXPECT_TRUE(decision.after.weights_TK.is_same(decision.before.weights_TK));
  EXPECT_FALSE(decision.shared_scale_T.defined());
}

TEST(Route, ARowDoesNotDependOnItsNeighbours) {
  for (const int64_t num_experts : {2, 7, 8, 16, 60, 64, 128}) {
    const at::Tensor logits = random_logits(33, num_experts, 3);
    const RouterSpec spec = spec_of(num_experts, 2, WeightMode::kRaw);
    const Route all = route(logits, spec).before;
    for (int64_t t = 0; t < logits.size(0); ++t) {
      const Route alone = route(logits.narrow(0, t, 1), spec).before;
      ASSERT_TRUE(same_bits(alone.ids_TK, all.ids_TK.narrow(0, t, 1).contiguous())) << num_experts << " " << t;
      ASSERT_TRUE(same_bits(alone.weights_TK, all.weights_TK.narrow(0, t, 1).contiguous())) << num_experts << " " << t;
    }
  }
}

TEST(Route, HandlesNoRows) {
  const std::vector<Edit> edits = {edit_of(Mask{{1}, Mask::Mode::kRefill, true}), edit_of(TopP{0.5})};
  const Decision decision = route(at::empty({0, 4}), spec_of(4, 2, WeightMode::kRaw), scoped(edits));
  EXPECT_EQ(decision.before.ids_TK.sizes(), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(decision.after.ids_TK.sizes(), (std::vector<int64_t>{0, 4}));
}

TEST(Route, NamesLayerRowAndExpertOfALogitThatIsNotFinite) {
  at::Tensor logits = at::zeros({4, 3});
  logits[2][1] = std::numeric_limits<float>::quiet_NaN();
  try {
    route(logits, spec_of(3, 1, WeightMode::kRaw), {}, 7);
    FAIL() << "NaN passed";
  } catch (const NumericError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("layer 7"), std::string::npos) << message;
    EXPECT_NE(message.find("row 2"), std::string::npos) << message;
    EXPECT_NE(message.find("expert 1"), std::string::npos) << message;
  }
  logits[2][1] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(route(logits, spec_of(3, 1, WeightMode::kRaw)), NumericError);
  logits[2].fill_(-std::numeric_limits<float>::infinity());
  EXPECT_THROW(route(logits, spec_of(3, 1, WeightMode::kRaw)), NumericError);
}

TEST(Route, AnExpertAtMinusInfinityIsNeverChosen) {
  at::Tensor logits = at::zeros({1, 3});
  logits[0][0] = -std::numeric_limits<float>::infinity();
  RouterSpec spec = spec_of(3, 3, WeightMode::kRaw);
  spec.selection_bias = {5, 0, 0};
  expect_row(route(logits, spec).before, 0, {{1, 0.5}, {2, 0.5}});
}

TEST(Route, RefusesMisuse) {
  const RouterSpec spec = spec_of(4, 2, WeightMode::kRaw);
  EXPECT_THROW(route(at::zeros({2, 5}), spec), BrokenInvariant);
  EXPECT_THROW(route(at::zeros({2, 4}, at::kDouble), spec), BrokenInvariant);
  const std::vector<Edit> beyond = {edit_of(Mask{{4}, Mask::Mode::kZero, false})};
  EXPECT_THROW(route(at::zeros({2, 4}), spec, scoped(beyond)), BrokenInvariant);
  const std::vector<Edit> edits = {edit_of(Mask{{1}, Mask::Mode::kZero, false})};
  std::vector<ScopedEdit> short_scope = scoped(edits);
  short_scope[0].scope_T = {1};
  EXPECT_THROW(route(at::zeros({2, 4}), spec, short_scope), BrokenInvariant);
}

TEST(SlotsNeeded, IsTheLargestNumberOfExpertsThatARowCanGet) {
  const RouterSpec spec = spec_of(8, 3, WeightMode::kRaw);
  const auto slots = [&](const std::vector<Edit>& edits) { return slots_needed(spec, scoped(edits)); };
  EXPECT_EQ(slots({}), 3);
  EXPECT_EQ(slots({edit_of(SetTopK{5})}), 5);
  EXPECT_EQ(slots({edit_of(SetTopK{1})}), 1);
  EXPECT_EQ(slots({edit_of(TopP{0.1})}), 8);
  EXPECT_EQ(slots({edit_of(TopP{0.1}), edit_of(SetTopK{2})}), 2);
  Edit somewhere = edit_of(SetTopK{1});
  somewhere.where.token_ids = {4};
  EXPECT_EQ(slots({somewhere}), 3);
}

}  // namespace
}  // namespace fare
