// Every operation on routers of two and of four experts, against numbers worked out by hand, in both weight modes.
// Four experts, k = 2, with scores 0.4, 0.3, 0.2, 0.1: without edits experts 0 and 1 run, with weights 0.4 and 0.3
// (mode U) or 4/7 and 3/7 (mode R). Two experts, k = 1, scores 3/4 and 1/4.
#include "fare/routing/edit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/routing/route_testing.h"

namespace fare {
namespace {

using namespace testing;

const double kE01 = std::exp(0.01);

struct Case {
  std::string name;
  std::vector<Edit> edits;
  std::vector<Slot> raw, renormalised;
};

void check(const std::vector<double>& odds, int64_t top_k, const std::vector<Case>& cases) {
  const at::Tensor logits = logits_of_odds({odds});
  for (const Case& one : cases) {
    const int64_t num_experts = static_cast<int64_t>(odds.size());
    const Decision raw = route(logits, spec_of(num_experts, top_k, WeightMode::kRaw), scoped(one.edits));
    expect_row(raw.after, 0, one.raw, one.name + ", mode U");
    const Decision renormalised =
        route(logits, spec_of(num_experts, top_k, WeightMode::kRenormalised), scoped(one.edits));
    expect_row(renormalised.after, 0, one.renormalised, one.name + ", mode R");
  }
}

void check_four(const std::vector<Case>& cases) { check({4, 3, 2, 1}, 2, cases); }
void check_two(const std::vector<Case>& cases) { check({3, 1}, 1, cases); }

EditOp add(std::vector<int32_t> experts, std::vector<double> values, bool keep_sum = false) {
  return AddLogit{std::move(experts), std::move(values), AddLogit::Affects::kSelectionAndWeight, keep_sum};
}
EditOp add_selection(std::vector<int32_t> experts, std::vector<double> values, bool keep_sum = false) {
  return AddLogit{std::move(experts), std::move(values), AddLogit::Affects::kSelection, keep_sum};
}
EditOp mask(std::vector<int32_t> experts, Mask::Mode mode = Mask::Mode::kRefill, bool keep_sum = false) {
  return Mask{std::move(experts), mode, keep_sum};
}

TEST(Edit, AddLogitMovesSelectionAndWeight) {
  // Odds 4, 3, 6, 1: expert 2 comes first.
  check_four({
      {"+log 3 on expert 2", {edit_of(add({2}, {std::log(3)}))}, {{2, 6.0 / 14}, {0, 4.0 / 14}}, {{2, 0.6}, {0, 0.4}}},
      {"keep_sum", {edit_of(add({2}, {std::log(3)}, true))}, {{2, 0.42}, {0, 0.28}}, {{2, 0.6}, {0, 0.4}}},
      // Odds 1, 3, 2, 1 after two edits.
      {"two edits add up",
       {edit_of(add({0}, {-std::log(2)})), edit_of(add({0}, {-std::log(2)}))},
       {{1, 3.0 / 7}, {2, 2.0 / 7}},
       {{1, 0.6}, {2, 0.4}}},
  });
  check_two({
      {"+log 9 on expert 1", {edit_of(add({1}, {std::log(9)}))}, {{1, 0.75}}, {{1, 1}}},
      {"keep_sum", {edit_of(add({0}, {std::log(3)}, true))}, {{0, 0.75}}, {{0, 1}}},
  });
}

TEST(Edit, AddLogitForSelectionKeepsTheOriginalScoresAsWeights) {
  // Selection odds 4, 3, 2, 8: expert 3 first, then 0; weights from 0.1 and 0.4.
  check_four({
      {"+log 8 on expert 3", {edit_of(add_selection({3}, {std::log(8)}))}, {{3, 0.1}, {0, 0.4}}, {{3, 0.2}, {0, 0.8}}},
      {"keep_sum", {edit_of(add_selection({3}, {std::log(8)}, true))}, {{3, 0.14}, {0, 0.56}}, {{3, 0.2}, {0, 0.8}}},
  });
  check_two({{"+log 9 on expert 1", {edit_of(add_selection({1}, {std::log(9)}))}, {{1, 0.25}}, {{1, 1}}}});
}

TEST(Edit, SelectionEditsSurviveScoresBelowFloat32) {
  // Expert 1 has a score of exp(-200), 0 in float32; chosen alone it still has the whole renormalised weight.
  const at::Tensor logits = at::tensor({200.0f, 0.0f}).view({1, 2});
  const std::vector<Edit> edits = {edit_of(add_selection({1}, {500}))};
  expect_row(route(logits, spec_of(2, 1, WeightMode::kRenormalised), scoped(edits)).after, 0, {{1, 1}});
  expect_row(route(logits, spec_of(2, 1, WeightMode::kRaw), scoped(edits)).after, 0, {{1, 0}});
}

TEST(Edit, TemperatureDividesLogits) {
  const double sum = 2 + std::sqrt(3) + std::sqrt(2) + 1;
  check_four({{"2",
               {edit_of(Temperature{2})},
               {{0, 2 / sum}, {1, std::sqrt(3) / sum}},
               {{0, 2 / (2 + std::sqrt(3))}, {1, std::sqrt(3) / (2 + std::sqrt(3))}}}});
  check_two({{"0.5", {edit_of(Temperature{0.5})}, {{0, 0.9}}, {{0, 1}}}});
}

TEST(Edit, MaskRefillLetsTheNextExpertIn) {
  check_four({
      {"expert 0", {edit_of(mask({0}))}, {{1, 0.5}, {2, 1.0 / 3}}, {{1, 0.6}, {2, 0.4}}},
      {"keep_sum", {edit_of(mask({0}, Mask::Mode::kRefill, true))}, {{1, 0.42}, {2, 0.28}}, {{1, 0.6}, {2, 0.4}}},
      {"an expert that was not chosen",
       {edit_of(mask({3}))},
       {{0, 4.0 / 9}, {1, 3.0 / 9}},
       {{0, 4.0 / 7}, {1, 3.0 / 7}}},
  });
  check_two({{"expert 0", {edit_of(mask({0}))}, {{1, 1}}, {{1, 1}}}});
}

TEST(Edit, MaskRenormalizeGivesTheWeightToTheOthersThatWereChosen) {
  const auto renormalize = Mask::Mode::kRenormalize;
  check_four({
      {"expert 0", {edit_of(mask({0}, renormalize))}, {{1, 0.7}}, {{1, 1}}},
      {"expert 3 does not run", {edit_of(mask({3}, renormalize))}, {{0, 0.4}, {1, 0.3}}, {{0, 4.0 / 7}, {1, 3.0 / 7}}},
      {"nobody left", {edit_of(mask({0, 1}, renormalize))}, {}, {}},
  });
  check_two({{"nobody left", {edit_of(mask({0}, renormalize))}, {}, {}}});
}

TEST(Edit, MaskZeroDropsTheExpertAndKeepsTheOthers) {
  check_four({
      {"expert 0", {edit_of(mask({0}, Mask::Mode::kZero))}, {{1, 0.3}}, {{1, 3.0 / 7}}},
      {"expert 1", {edit_of(mask({1}, Mask::Mode::kZero))}, {{0, 0.4}}, {{0, 4.0 / 7}}},
      {"nobody left", {edit_of(mask({0, 1, 2}, Mask::Mode::kZero))}, {}, {}},
  });
  check_two({{"the other one", {edit_of(mask({1}, Mask::Mode::kZero))}, {{0, 0.75}}, {{0, 1}}}});
}

TEST(Edit, ActivateRaisesLogScoresAboveTheLargest) {
  // Scores 0.4, 0.3, 0.2 and exp(log 0.4 + 0.01).
  const double sum = 0.9 + 0.4 * kE01;
  check_four({
      {"expert 3",
       {edit_of(Activate{{3}, false})},
       {{3, 0.4 * kE01 / sum}, {0, 0.4 / sum}},
       {{3, kE01 / (kE01 + 1)}, {0, 1 / (kE01 + 1)}}},
      {"keep_sum",
       {edit_of(Activate{{3}, true})},
       {{3, 0.7 * kE01 / (kE01 + 1)}, {0, 0.7 / (kE01 + 1)}},
       {{3, kE01 / (kE01 + 1)}, {0, 1 / (kE01 + 1)}}},
      // Both stand at the same value, taken once: the lower index comes first.
      {"experts 3 and 2",
       {edit_of(Activate{{3}, false}), edit_of(Activate{{2}, false})},
       {{2, 0.4 * kE01 / (0.7 + 0.8 * kE01)}, {3, 0.4 * kE01 / (0.7 + 0.8 * kE01)}},
       {{2, 0.5}, {3, 0.5}}},
  });
  check_two({{"expert 1", {edit_of(Activate{{1}, false})}, {{1, kE01 / (1 + kE01)}}, {{1, 1}}}});
}

TEST(Edit, DeactivateLowersLogScoresBelowTheSmallest) {
  const double low = 0.1 / kE01, sum = 0.6 + low;
  check_four({
      {"expert 0", {edit_of(Deactivate{{0}, false})}, {{1, 0.3 / sum}, {2, 0.2 / sum}}, {{1, 0.6}, {2, 0.4}}},
      {"keep_sum", {edit_of(Deactivate{{0}, true})}, {{1, 0.42}, {2, 0.28}}, {{1, 0.6}, {2, 0.4}}},
  });
  const double low_two = 0.25 / kE01;
  check_two({{"expert 0", {edit_of(Deactivate{{0}, false})}, {{1, 0.25 / (0.25 + low_two)}}, {{1, 1}}}});
}

TEST(Edit, ForcingComesAfterAllOtherLogitEditsAndAMaskBeatsIt) {
  check_four({
      // Whatever the order in the file: mask 0 first, then max = log 0.5 of odds 3, 2, 1.
      {"activate 3, mask 0",
       {edit_of(Activate{{3}, false}), edit_of(mask({0}))},
       {{3, 0.5 * kE01 / (0.5 + 1.0 / 3 + 0.5 * kE01)}, {1, 0.5 / (0.5 + 1.0 / 3 + 0.5 * kE01)}},
       {{3, kE01 / (kE01 + 1)}, {1, 1 / (kE01 + 1)}}},
      {"activate 0, mask 0",
       {edit_of(Activate{{0}, false}), edit_of(mask({0}))},
       {{1, 0.5}, {2, 1.0 / 3}},
       {{1, 0.6}, {2, 0.4}}},
      // The minimum is over finite entries: 1/6 after masking expert 0, not minus infinity.
      {"deactivate 1, mask 0",
       {edit_of(Deactivate{{1}, false}), edit_of(mask({0}))},
       {{2, (1.0 / 3) / (0.5 + 1.0 / 6 / kE01)}, {3, (1.0 / 6) / (0.5 + 1.0 / 6 / kE01)}},
       {{2, 2.0 / 3}, {3, 1.0 / 3}}},
      // Odds 4, 3, 2, 64: the maximum is taken after the shift, whose expert stays second.
      {"activate 1, add_logit 3",
       {edit_of(Activate{{1}, false}), edit_of(add({3}, {std::log(64)}))},
       {{1, 64 * kE01 / (70 + 64 * kE01)}, {3, 64 / (70 + 64 * kE01)}},
       {{1, kE01 / (1 + kE01)}, {3, 1 / (1 + kE01)}}},
  });
}

TEST(Edit, ForcedExpertsWinOverCorrectionBias) {
  RouterSpec spec = spec_of(4, 2, WeightMode::kRenormalised);
  spec.selection_bias = {0, 5, 6, -9};
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}});
  std::vector<Edit> edits = {edit_of(Activate{{3}, false})};
  expect_row(route(logits, spec, scoped(edits)).after, 0,
             {{3, 0.4 * kE01 / (0.4 * kE01 + 0.2)}, {2, 0.2 / (0.4 * kE01 + 0.2)}}, "forced on");
  edits = {edit_of(Deactivate{{2}, false})};
  expect_row(route(logits, spec, scoped(edits)).after, 0, {{1, 0.3 / 0.7}, {0, 0.4 / 0.7}}, "forced off");
  edits = {edit_of(mask({2}))};
  expect_row(route(logits, spec, scoped(edits)).after, 0, {{1, 3.0 / 7}, {0, 4.0 / 7}}, "masked");
}

TEST(Edit, ForcedExpertsWinOverGroupLimits) {
  RouterSpec spec = spec_of(6, 3, WeightMode::kRaw);
  spec.num_groups = 3;
  spec.top_groups = 1;
  const at::Tensor logits = logits_of_odds({{30, 20, 10, 5, 4, 1}});
  // Two groups hold a forced expert, one is kept (ties to the lower): both run, then the kept group's second.
  const std::vector<Edit> edits = {edit_of(Activate{{2, 5}, false})};
  const double forced = 30 * kE01, sum = 30 + 20 + 5 + 4 + 2 * forced;
  expect_row(route(logits, spec, scoped(edits)).after, 0, {{2, forced / sum}, {5, forced / sum}, {3, 5 / sum}},
             "groups");
}

TEST(Edit, MasksWinOverCorrectionBiasAndGroupLimits) {
  RouterSpec spec = spec_of(6, 2, WeightMode::kRaw);
  spec.num_groups = 3;
  spec.top_groups = 1;
  const at::Tensor logits = logits_of_odds({{30, 20, 10, 5, 4, 1}});
  const std::vector<Edit> edits = {edit_of(mask({0, 1}))};
  expect_row(route(logits, spec, scoped(edits)).after, 0, {{2, 0.5}, {3, 0.25}}, "a whole group masked");
}

TEST(Edit, SetTopKChangesHowManyRun) {
  check_four({
      {"3", {edit_of(SetTopK{3})}, {{0, 0.4}, {1, 0.3}, {2, 0.2}}, {{0, 4.0 / 9}, {1, 3.0 / 9}, {2, 2.0 / 9}}},
      {"1", {edit_of(SetTopK{1})}, {{0, 0.4}}, {{0, 1}}},
      {"the last one counts",
       {edit_of(SetTopK{1}), edit_of(SetTopK{2})},
       {{0, 0.4}, {1, 0.3}},
       {{0, 4.0 / 7}, {1, 3.0 / 7}}},
      {"more than a mask leaves",
       {edit_of(mask({0})), edit_of(SetTopK{4})},
       {{1, 0.5}, {2, 1.0 / 3}, {3, 1.0 / 6}},
       {{1, 0.5}, {2, 1.0 / 3}, {3, 1.0 / 6}}},
  });
  check_two({{"2", {edit_of(SetTopK{2})}, {{0, 0.75}, {1, 0.25}}, {{0, 0.75}, {1, 0.25}}}});
}

TEST(Edit, TopPTakesTheSmallestPrefixWhoseSumExceedsP) {
  check_four({
      {"0.35", {edit_of(TopP{0.35})}, {{0, 0.4}}, {{0, 1}}},
      {"0.6", {edit_of(TopP{0.6})}, {{0, 0.4}, {1, 0.3}}, {{0, 4.0 / 7}, {1, 3.0 / 7}}},
      {"0.75", {edit_of(TopP{0.75})}, {{0, 0.4}, {1, 0.3}, {2, 0.2}}, {{0, 4.0 / 9}, {1, 3.0 / 9}, {2, 2.0 / 9}}},
      {"1", {edit_of(TopP{1})}, {{0, 0.4}, {1, 0.3}, {2, 0.2}, {3, 0.1}}, {{0, 0.4}, {1, 0.3}, {2, 0.2}, {3, 0.1}}},
      {"0", {edit_of(TopP{0})}, {{0, 0.4}}, {{0, 1}}},
  });
  check_two({{"0.8", {edit_of(TopP{0.8})}, {{0, 0.75}, {1, 0.25}}, {{0, 0.75}, {1, 0.25}}}});
  // A sum of exactly p does not exceed it: four scores of 1/4.
  const std::vector<Edit> edits = {edit_of(TopP{0.5})};
  const at::Tensor halves = logits_of_odds({{1, 1, 1, 1}});
  expect_row(route(halves, spec_of(4, 1, WeightMode::kRaw), scoped(edits)).after, 0, {{0, 0.25}, {1, 0.25}, {2, 0.25}});
}

TEST(Edit, ReweightKeepsSelectionAndSum) {
  check_four({
      // Factors 1/2 and 2: 0.2 and 0.6, brought back to a sum of 0.7.
      {"lambda log 2",
       {edit_of(Reweight{{0, 1}, {1, -1}, std::log(2)})},
       {{0, 0.175}, {1, 0.525}},
       {{0, 0.25}, {1, 0.75}}},
      {"an expert that does not run",
       {edit_of(Reweight{{3}, {1}, 5})},
       {{0, 0.4}, {1, 0.3}},
       {{0, 4.0 / 7}, {1, 3.0 / 7}}},
      {"exponents beyond float64", {edit_of(Reweight{{0, 1}, {1, -1}, 1e6})}, {{0, 0}, {1, 0.7}}, {{0, 0}, {1, 1}}},
  });
  check_two({{"a single expert", {edit_of(Reweight{{0}, {1}, 3})}, {{0, 0.75}}, {{0, 1}}}});
}

TEST(Edit, ScaleWeightMultipliesAChosenExpert) {
  check_four({
      {"x2", {edit_of(ScaleWeight{{0}, 2, false})}, {{0, 0.8}, {1, 0.3}}, {{0, 8.0 / 7}, {1, 3.0 / 7}}},
      {"x2, keep_sum",
       {edit_of(ScaleWeight{{0}, 2, true})},
       {{0, 0.7 * 8 / 11}, {1, 0.7 * 3 / 11}},
       {{0, 8.0 / 11}, {1, 3.0 / 11}}},
      {"x0 leaves the expert in", {edit_of(ScaleWeight{{0}, 0, false})}, {{0, 0}, {1, 0.3}}, {{0, 0}, {1, 3.0 / 7}}},
      {"x0 on all, keep_sum", {edit_of(ScaleWeight{{0, 1}, 0, true})}, {{0, 0}, {1, 0}}, {{0, 0}, {1, 0}}},
  });
  check_two({{"x3, keep_sum", {edit_of(ScaleWeight{{0}, 3, true})}, {{0, 0.75}}, {{0, 1}}},
             {"x3", {edit_of(ScaleWeight{{0}, 3, false})}, {{0, 2.25}}, {{0, 3}}}});
}

TEST(Edit, SharedScaleLeavesTheRoutedExpertsAlone) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}, {4, 3, 2, 1}});
  for (const WeightMode mode : kModes) {
    const std::vector<Edit> edits = {edit_of(SharedScale{0.5}), edit_of(SharedScale{3})};
    std::vector<ScopedEdit> both = scoped(edits);
    both[1].scope_T = {0, 1};
    const Decision decision = route(logits, spec_of(4, 2, mode), both);
    EXPECT_TRUE(same_bits(decision.before, decision.after));
    EXPECT_EQ(decision.shared_scale_T[0].item<float>(), 0.5f);
    EXPECT_EQ(decision.shared_scale_T[1].item<float>(), 1.5f);
  }
}

std::shared_ptr<const RouteTable> stored_routes() {
  RouteTable table;
  table.offsets = {0, 2};
  table.token_ids = {5, 6};
  table.layers[3] = {3, {3, 1, -1, 2, 0, 1}, {0.9f, 0.05f, 0, 0.5f, 0.25f, 0.125f}};
  return std::make_shared<const RouteTable>(std::move(table));
}

TEST(Edit, ForceRoutesReplaysIdsAndWeights) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}, {4, 3, 2, 1}, {4, 3, 2, 1}});
  for (const WeightMode mode : kModes) {
    const std::vector<Edit> edits = {edit_of(ForceRoutes{stored_routes(), "routes"})};
    std::vector<ScopedEdit> replay = scoped(edits);
    replay[0].table_row_T = {1, 0, -1};
    const Decision decision = route(logits, spec_of(4, 2, mode), replay, 3);
    EXPECT_EQ(decision.after.ids_TK.size(1), 3);
    expect_row(decision.after, 0, {{2, 0.5}, {0, 0.25}, {1, 0.125}}, name_of(mode), 0);
    expect_row(decision.after, 1, {{3, 0.9f}, {1, 0.05f}}, name_of(mode), 0);
    const double scale = mode == WeightMode::kRaw ? 1 : 1 / 0.7;
    expect_row(decision.after, 2, {{0, 0.4 * scale}, {1, 0.3 * scale}}, "no stored row");
    const Decision other_layer = route(logits, spec_of(4, 2, mode), replay, 4);
    expect_row(other_layer.after, 0, {{0, 0.4 * scale}, {1, 0.3 * scale}}, "layer not stored");
  }
}

TEST(Edit, ReplayIsExactWhateverTheLogitsAndThenWeightsCanBeEdited) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}});
  const std::vector<Edit> edits = {edit_of(ScaleWeight{{3}, 2, false}), edit_of(ForceRoutes{stored_routes(), "routes"}),
                                   edit_of(mask({3}, Mask::Mode::kRefill, true))};
  std::vector<ScopedEdit> replay = scoped(edits);
  replay[1].table_row_T = {0};
  expect_row(route(logits, spec_of(4, 2, WeightMode::kRaw), replay, 3).after, 0, {{3, 1.8f}, {1, 0.05f}}, "", 0);
}

TEST(Edit, ForcingTheModelsOwnRouteChangesNoBit) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}, {1, 9, 2, 5}});
  for (const WeightMode mode : kModes) {
    const Decision plain = route(logits, spec_of(4, 2, mode));
    RouteTable table;
    table.offsets = {0, 2};
    table.token_ids = {0, 0};
    const int32_t* ids = plain.before.ids_TK.const_data_ptr<int32_t>();
    const float* weights = plain.before.weights_TK.const_data_ptr<float>();
    table.layers[0] = {2, {ids, ids + 4}, {weights, weights + 4}};
    const std::vector<Edit> edits = {edit_of(ForceRoutes{std::make_shared<const RouteTable>(table), ""})};
    std::vector<ScopedEdit> replay = scoped(edits);
    replay[0].table_row_T = {0, 1};
    EXPECT_TRUE(same_bits(route(logits, spec_of(4, 2, mode), replay).after, plain.before)) << name_of(mode);
  }
}

TEST(Edit, PointsComeInTheirOrderWhateverTheFileSays) {
  // Mask refill (logits), then set_top_k (selection), then scale_weight and mask zero (weights).
  const std::vector<Edit> edits = {edit_of(mask({3}, Mask::Mode::kZero)), edit_of(ScaleWeight{{1}, 2, false}),
                                   edit_of(SetTopK{3}), edit_of(mask({0}))};
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}});
  expect_row(route(logits, spec_of(4, 2, WeightMode::kRaw), scoped(edits)).after, 0, {{1, 1}, {2, 1.0 / 3}});
}

TEST(Edit, FileOrderDecidesWithinThePointOfLogits) {
  check_four({
      // (log 4 + 2 log 3) / 2 = log 6 against log sqrt(3) ..
      {"add, then temperature",
       {edit_of(add({0}, {2 * std::log(3)})), edit_of(Temperature{2})},
       {{0, 6 / (7 + std::sqrt(3) + std::sqrt(2))}, {1, std::sqrt(3) / (7 + std::sqrt(3) + std::sqrt(2))}},
       {{0, 6 / (6 + std::sqrt(3))}, {1, std::sqrt(3) / (6 + std::sqrt(3))}}},
      {"temperature, then add",
       {edit_of(Temperature{2}), edit_of(add({0}, {2 * std::log(3)}))},
       {{0, 18 / (19 + std::sqrt(3) + std::sqrt(2))}, {1, std::sqrt(3) / (19 + std::sqrt(3) + std::sqrt(2))}},
       {{0, 18 / (18 + std::sqrt(3))}, {1, std::sqrt(3) / (18 + std::sqrt(3))}}},
  });
}

TEST(Edit, KeepSumRestoresTheSumThatTheEarlierEditsLeft) {
  check_four({
      // Masking 0 raises the sum to 5/6; the shift of expert 1 (odds 6, 2, 1) keeps that.
      {"plain mask, then kept shift",
       {edit_of(mask({0})), edit_of(add({1}, {std::log(2)}, true))},
       {{1, 5.0 / 6 * 0.75}, {2, 5.0 / 6 * 0.25}},
       {{1, 0.75}, {2, 0.25}}},
      // The kept mask stays at 0.7; the plain shift then multiplies the sum by (8/9) / (5/6).
      {"kept mask, then plain shift",
       {edit_of(mask({0}, Mask::Mode::kRefill, true)), edit_of(add({1}, {std::log(2)}))},
       {{1, 0.7 * (8.0 / 9) / (5.0 / 6) * 0.75}, {2, 0.7 * (8.0 / 9) / (5.0 / 6) * 0.25}},
       {{1, 0.75}, {2, 0.25}}},
      {"both kept",
       {edit_of(mask({0}, Mask::Mode::kRefill, true)), edit_of(add({1}, {std::log(2)}, true))},
       {{1, 0.525}, {2, 0.175}},
       {{1, 0.75}, {2, 0.25}}},
  });
}

TEST(Edit, KeepSumSeesExpertsThatALaterEditTakesAway) {
  // The kept shift compares sums over two experts, 0.7 before and 10/14 after, although one expert runs in the end.
  check_four({{"kept shift, then k = 1",
               {edit_of(add({2}, {std::log(3)}, true)), edit_of(SetTopK{1})},
               {{2, 0.42}},
               {{2, 1}}}});
}

TEST(Edit, MasksThatTogetherLeaveNothingGiveARowWithoutExperts) {
  // Masks of overlapping rows can leave fewer experts than k, down to none; check() cannot see that.
  const std::vector<Edit> edits = {edit_of(mask({0, 1})), edit_of(mask({2}, Mask::Mode::kRefill, true)),
                                   edit_of(mask({3})), edit_of(Activate{{3}, false})};
  std::vector<ScopedEdit> some = scoped(edits);
  some[2].scope_T = {0, 1};
  for (const WeightMode mode : kModes) {
    const Decision decision = route(logits_of_odds({{4, 3, 2, 1}, {4, 3, 2, 1}}), spec_of(4, 2, mode), some);
    expect_row(decision.after, 0, {{3, 1}}, "one left, the only score is 1");
    expect_row(decision.after, 1, {}, "none left");
  }
}

TEST(Edit, RowsOutOfScopeKeepTheirBits) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}, {4, 3, 2, 1}, {1, 2, 3, 4}});
  const std::vector<Edit> edits = {edit_of(mask({0, 3})), edit_of(Reweight{{1}, {1}, 1}), edit_of(SetTopK{3})};
  for (const WeightMode mode : kModes) {
    std::vector<ScopedEdit> first_row = scoped(edits);
    for (ScopedEdit& one : first_row) one.scope_T = {1, 0, 0};
    const Decision decision = route(logits, spec_of(4, 2, mode), first_row);
    EXPECT_FALSE(
        same_bits(decision.before.ids_TK[0].contiguous(), decision.after.ids_TK[0].narrow(0, 0, 2).contiguous()));
    for (const int64_t t : {1, 2}) {
      EXPECT_TRUE(same_bits(decision.before.weights_TK[t].contiguous(),
                            decision.after.weights_TK[t].narrow(0, 0, 2).contiguous()));
      EXPECT_TRUE(
          same_bits(decision.before.ids_TK[t].contiguous(), decision.after.ids_TK[t].narrow(0, 0, 2).contiguous()));
      EXPECT_EQ(decision.after.ids_TK[t][2].item<int32_t>(), -1);
    }
  }
}

TEST(Edit, IdentityEditsChangeNoBit) {
  const at::Tensor logits = at::sin(at::arange(0, 50 * 16).to(at::kFloat)).view({50, 16}).contiguous() * 3;
  const std::vector<Edit> edits = {edit_of(add({1, 2}, {0, 0}, true)),
                                   edit_of(add_selection({1}, {0}, true)),
                                   edit_of(Temperature{1}),
                                   edit_of(mask({})),
                                   edit_of(Activate{{}, true}),
                                   edit_of(Deactivate{{}, true}),
                                   edit_of(Reweight{{1, 2}, {1, -1}, 0}),
                                   edit_of(Reweight{{3}, {0}, 4}),
                                   edit_of(ScaleWeight{{1}, 1, true}),
                                   edit_of(SharedScale{1})};
  for (const Edit& edit : edits) EXPECT_TRUE(edit.is_identity()) << op_name(edit.op);
  for (const WeightMode mode : kModes) {
    const Decision decision = route(logits, spec_of(16, 4, mode), scoped(edits));
    EXPECT_TRUE(same_bits(decision.before, decision.after)) << name_of(mode);
    EXPECT_FALSE(decision.shared_scale_T.defined());
  }
}

TEST(Edit, WeightEditsOfExpertsThatDoNotRunChangeNoBit) {
  const at::Tensor logits = logits_of_odds({{4, 3, 2, 1}, {4.5, 3.3, 2.2, 1.1}});
  const std::vector<Edit> edits = {edit_of(ScaleWeight{{2}, 7, true}), edit_of(Reweight{{3}, {1}, 2}),
                                   edit_of(mask({2, 3}, Mask::Mode::kRenormalize))};
  for (const WeightMode mode : kModes) {
    const Decision decision = route(logits, spec_of(4, 2, mode), scoped(edits));
    EXPECT_TRUE(same_bits(decision.before, decision.after)) << name_of(mode);
  }
}

TEST(Edit, TouchesItsLayersAndForceRoutesOnlyWhatIsStored) {
  Edit edit = edit_of(mask({1}));
  EXPECT_TRUE(edit.touches(5));
  edit.layers = {2, 4};
  EXPECT_TRUE(edit.touches(4));
  EXPECT_FALSE(edit.touches(5));
  const Edit replay = edit_of(ForceRoutes{stored_routes(), ""});
  EXPECT_TRUE(replay.touches(3));
  EXPECT_FALSE(replay.touches(2));
}

}  // namespace
}  // namespace fare
