#include "fare/routing/receipt.h"

#include <gtest/gtest.h>

#include "fare/routing/route_testing.h"

namespace fare {
namespace {

using namespace testing;

// Three rows of four experts, k = 2: scores 0.4, 0.3, 0.2, 0.1 forwards, forwards and backwards.
at::Tensor three_rows() { return logits_of_odds({{4, 3, 2, 1}, {4, 3, 2, 1}, {1, 2, 3, 4}}); }

Receipt receipt_of(const std::vector<ScopedEdit>& edits, const std::vector<int32_t>& multiplicity = {},
                   WeightMode mode = WeightMode::kRaw) {
  Receipt receipt;
  const Decision decision = route(three_rows(), spec_of(4, 2, mode), edits);
  receipt.add(5, decision, edits, multiplicity);
  return receipt;
}

TEST(Receipt, CountsByHand) {
  // Expert 0 out. Rows 0, 1: weights 4/7, 3/7 of experts 0, 1 become 3/5, 2/5 of 1, 2: moved (4/7 + 6/35 + 2/5) / 2 =
  // 4/7. Row 2 keeps experts 3 and 2 in the same proportion: nothing moved.
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false})};
  const Receipt receipt = receipt_of(scoped(edits));
  const LayerReceipt& layer = receipt.layers.at(5);
  EXPECT_EQ(layer.edits_applied, 3);
  EXPECT_EQ(layer.tokens_in_scope, 3);
  EXPECT_EQ(layer.topk_changed, 2);
  EXPECT_NEAR(layer.gate_mass_moved_sum, 2 * 4.0 / 7, 1e-6);
  EXPECT_EQ(layer.experts_removed, (std::set<int32_t>{0}));
  EXPECT_EQ(layer.tokens_without_experts, 0);
  EXPECT_FALSE(receipt.no_effect());
}

TEST(Receipt, CountsSharedRowsOncePerRequest) {
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false}), edit_of(Temperature{2})};
  std::vector<ScopedEdit> both = scoped(edits);
  both[1].scope_T = {0, 1, 0};
  both[0].scope_T = {1, 1, 0};
  const LayerReceipt layer = receipt_of(both, {3, 2, 7}).layers.at(5);
  EXPECT_EQ(layer.edits_applied, 3 + 2 * 2);
  EXPECT_EQ(layer.tokens_in_scope, 5);
  EXPECT_EQ(layer.topk_changed, 5);
}

TEST(Receipt, CountsTokensWithoutExperts) {
  const std::vector<Edit> edits = {edit_of(Mask{{0, 1}, Mask::Mode::kRenormalize, false})};
  const LayerReceipt layer = receipt_of(scoped(edits), {1, 4, 1}).layers.at(5);
  EXPECT_EQ(layer.tokens_without_experts, 5);
  // A row that loses everything moves half of its mass: the vector after is zero.
  EXPECT_NEAR(layer.gate_mass_moved_sum, 5 * 0.5, 1e-6);
  EXPECT_EQ(layer.experts_removed.size(), 2u);
}

TEST(Receipt, WeightChangesWithoutAChangeOfExpertsAreAnEffect) {
  const std::vector<Edit> edits = {edit_of(ScaleWeight{{0}, 2, false})};
  const Receipt receipt = receipt_of(scoped(edits));
  EXPECT_EQ(receipt.layers.at(5).topk_changed, 0);
  EXPECT_FALSE(receipt.no_effect());
  // 4/7, 3/7 become 8/11, 3/11 in two rows.
  EXPECT_NEAR(receipt.layers.at(5).gate_mass_moved_sum, 2 * (8.0 / 11 - 4.0 / 7), 1e-6);
}

TEST(Receipt, ScalingEveryWeightMovesNoMassButIsAnEffect) {
  const std::vector<Edit> edits = {edit_of(ScaleWeight{{0, 1, 2, 3}, 2, false})};
  const Receipt receipt = receipt_of(scoped(edits));
  EXPECT_NEAR(receipt.layers.at(5).gate_mass_moved_sum, 0, 1e-6);
  EXPECT_FALSE(receipt.no_effect());
}

TEST(Receipt, SaysWhenNothingChanged) {
  const std::vector<Edit> identity = {edit_of(Reweight{{0}, {1}, 0})};
  EXPECT_TRUE(receipt_of(scoped(identity)).no_effect());
  EXPECT_EQ(receipt_of(scoped(identity)).layers.at(5).edits_applied, 3);
  // An expert that is never chosen: in mode R its mask changes no weight beyond rounding.
  const std::vector<Edit> unused = {edit_of(Mask{{1}, Mask::Mode::kRefill, false})};
  std::vector<ScopedEdit> last_row = scoped(unused);
  last_row[0].scope_T = {0, 0, 1};
  EXPECT_TRUE(receipt_of(last_row, {}, WeightMode::kRenormalised).no_effect());
  EXPECT_FALSE(receipt_of(last_row, {}, WeightMode::kRaw).no_effect());
  // Rows that no request uses do not count.
  EXPECT_TRUE(receipt_of(scoped(unused), {0, 0, 1}, WeightMode::kRenormalised).no_effect());
  // Nothing was asked for.
  EXPECT_FALSE(Receipt().no_effect());
}

TEST(Receipt, ThresholdOfAnEffectIsAMillionthOfTheLargestWeight) {
  for (const auto& [factor, effect] : {std::pair{1 + 4e-7, false}, std::pair{1 + 3e-6, true}}) {
    const std::vector<Edit> edits = {edit_of(ScaleWeight{{0}, factor, false})};
    EXPECT_EQ(receipt_of(scoped(edits)).no_effect(), !effect) << factor;
  }
}

TEST(Receipt, ScalingSharedExpertsIsAnEffect) {
  const std::vector<Edit> edits = {edit_of(SharedScale{0.5})};
  EXPECT_FALSE(receipt_of(scoped(edits)).no_effect());
  std::vector<ScopedEdit> nowhere = scoped(edits);
  nowhere[0].scope_T = {0, 0, 0};
  EXPECT_TRUE(receipt_of(nowhere).no_effect());
}

TEST(Receipt, PartsAddUp) {
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false})};
  Receipt sum = receipt_of(scoped(edits));
  sum.tokens = 3;
  Receipt other = sum;
  other.layers[6] = other.layers.at(5);
  other.layers[6].experts_removed = {2};
  sum += other;
  EXPECT_EQ(sum.tokens, 6);
  EXPECT_EQ(sum.layers.at(5).topk_changed, 4);
  EXPECT_NEAR(sum.layers.at(5).gate_mass_moved_sum, 16.0 / 7, 1e-6);
  EXPECT_EQ(sum.layers.at(5).experts_removed.size(), 1u);
  EXPECT_EQ(sum.layers.at(6).tokens_in_scope, 3);
}

TEST(Receipt, WritesItsFile) {
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false})};
  Receipt receipt = receipt_of(scoped(edits));
  receipt.tokens = 3;
  const OrderedJson json = receipt.to_json("mask one", "ab");
  EXPECT_EQ(json["format"], "fare-receipt/1");
  EXPECT_EQ(json["intervention"], "mask one");
  EXPECT_EQ(json["sha256"], "ab");
  EXPECT_EQ(json["tokens"], 3);
  const auto& layer = json["layers"]["5"];
  EXPECT_EQ(layer["edits_applied"], 3);
  EXPECT_NEAR(layer["topk_changed_share"].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_NEAR(layer["gate_mass_moved"].get<double>(), 8.0 / 21, 1e-6);
  EXPECT_EQ(layer["experts_removed"], 1);
  EXPECT_EQ(layer["tokens_without_experts"], 0);
  EXPECT_EQ(json["no_effect"], false);
}

TEST(Receipt, SharesWithoutTokensAreUndefinedNotZero) {
  const std::vector<Edit> edits = {edit_of(Mask{{0}, Mask::Mode::kRefill, false})};
  std::vector<ScopedEdit> nowhere = scoped(edits);
  nowhere[0].scope_T = {0, 0, 0};
  const OrderedJson json = receipt_of(nowhere).to_json("", "");
  EXPECT_TRUE(json["intervention"].is_null());
  EXPECT_TRUE(json["layers"]["5"]["topk_changed_share"].is_null());
  EXPECT_TRUE(json["layers"]["5"]["gate_mass_moved_reason"].is_string());
  EXPECT_EQ(json["layers"]["5"]["experts_removed"], 0);
  EXPECT_EQ(json["no_effect"], true);
}

TEST(Receipt, WithoutAnInterventionHasNoLayers) {
  Receipt receipt;
  receipt.tokens = 12;
  receipt.add(1, route(three_rows(), spec_of(4, 2, WeightMode::kRaw)), {}, {});
  const OrderedJson json = receipt.to_json("", "");
  EXPECT_TRUE(json["layers"].empty());
  EXPECT_TRUE(json["layers"].is_object());
  EXPECT_EQ(json["no_effect"], false);
}

}  // namespace
}  // namespace fare
