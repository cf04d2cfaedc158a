#include "fare/routing/driven_edit.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fare/core/error.h"
#include "fare/routing/intervention.h"
#include "fare/routing/route_testing.h"
#include "fare/routing/selector.h"

namespace fare {
namespace {

using namespace testing;

// Three rows of two coordinates, four experts.
const at::Tensor kInput = at::tensor({1.0f, 0.0f, 0.0f, 2.0f, -1.0f, 1.0f}).view({3, 2});
const at::Tensor kLogits = logits_of_odds({{8, 4, 2, 1}, {8, 4, 2, 1}, {1, 2, 4, 8}});

Decision driven_route(const std::vector<Edit>& edits, WeightMode mode) {
  const auto all = scoped(edits);
  std::vector<ScopedEdit> storage;
  return route(kLogits, spec_of(4, 2, mode), with_drive(all, kInput, storage), 0);
}

AddLogit gated(double value, bool keep_sum) {
  AddLogit add{{3}, {value}};
  add.keep_sum = keep_sum;
  add.gate = InputGate{{2.0, -1.0}, 0.5};
  return add;
}

TEST(DrivenEdit, AGateScalesTheValueByASigmoidOfTheInput) {
  for (const WeightMode mode : {WeightMode::kRaw, WeightMode::kRenormalised}) {
    const Decision found = driven_route({edit_of(gated(4.0, true))}, mode);
    for (int64_t t = 0; t < 3; ++t) {
      const double along = 2 * kInput[t][0].item<double>() - kInput[t][1].item<double>() + 0.5;
      AddLogit plain{{3}, {4.0 / (1 + std::exp(-along))}};
      plain.keep_sum = true;
      const Edit edit = edit_of(plain);
      const Decision expected = route(kLogits.narrow(0, t, 1), spec_of(4, 2, mode), scoped({edit}), 0);
      for (int64_t slot = 0; slot < 2; ++slot) {
        EXPECT_EQ(found.after.ids_TK[t][slot].item<int32_t>(), expected.after.ids_TK[0][slot].item<int32_t>()) << t;
        EXPECT_NEAR(found.after.weights_TK[t][slot].item<double>(), expected.after.weights_TK[0][slot].item<double>(),
                    1e-6)
            << t;
      }
    }
  }
}

TEST(DrivenEdit, ARouterDeltaIsAnotherRouterMatrix) {
  // Two ranks: what they add to the logits of row t is A (C x + c), by hand.
  const RouterDelta delta{{{1.0, 0.5}, {0.0, -1.0}}, {{1.0, 0.0, -1.0, 2.0}, {0.5, 0.5, 0.0, 0.0}}, {0.25, 0.0}, false};
  const std::vector<std::vector<double>> shift = {
      {1.25, 0, -1.25, 2.5}, {1.25 - 1.0, -1.0, -1.25, 2.5}, {-0.25 - 0.5, -0.5, 0.25, -0.5}};
  at::Tensor moved = kLogits.clone();
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t e = 0; e < 4; ++e) moved[t][e] += shift[static_cast<size_t>(t)][static_cast<size_t>(e)];
  for (const WeightMode mode : {WeightMode::kRaw, WeightMode::kRenormalised}) {
    const Decision found = driven_route({edit_of(delta)}, mode);
    const Decision expected = route(moved, spec_of(4, 2, mode));
    EXPECT_TRUE(at::equal(found.after.ids_TK, expected.after.ids_TK));
    EXPECT_TRUE(at::allclose(found.after.weights_TK, expected.after.weights_TK, 1e-5, 1e-6));
    EXPECT_FALSE(at::equal(found.after.ids_TK, found.before.ids_TK));
  }
}

TEST(DrivenEdit, KeepSumHoldsForBoth) {
  RouterDelta delta{{{1.0, 0.5}}, {{-3.0, 0.0, 1.0, 2.0}}, {0.25}, true};
  for (const Edit& edit : {edit_of(delta), edit_of(gated(6.0, true))}) {
    const Decision found = driven_route({edit}, WeightMode::kRaw);
    EXPECT_TRUE(at::allclose(found.after.weights_TK.sum(1), found.before.weights_TK.sum(1), 1e-5, 1e-6))
        << op_name(edit.op);
    EXPECT_FALSE(at::equal(found.after.ids_TK, found.before.ids_TK));
  }
}

TEST(DrivenEdit, TheShiftIsWhatRouteAddsAndHasAGradient) {
  RouterDelta delta{{{1.0, 0.5}}, {{-3.0, 0.0, 1.0, 2.0}}, {0.25}, true};
  const std::vector<Edit> edits = {edit_of(delta), edit_of(gated(6.0, true)), edit_of(AddLogit{{1}, {0.75}})};
  std::vector<ScopedEdit> all = scoped(edits);
  all[2].scope_T = {0, 1, 0};
  const at::Tensor x = kInput.clone().requires_grad_(true);
  const at::Tensor shift = logit_shift(all, x, 4);
  std::vector<ScopedEdit> storage;
  const auto driven = with_drive(all, kInput, storage);
  const Decision edited = route(kLogits, spec_of(4, 2, WeightMode::kRenormalised), driven, 0);
  const Decision moved = route(kLogits + shift.detach(), spec_of(4, 2, WeightMode::kRenormalised));
  EXPECT_TRUE(at::allclose(edited.after.weights_TK, moved.after.weights_TK, 1e-5, 1e-6));
  // Against central differences in x.
  const at::Tensor weights = at::arange(12, at::kFloat).view({3, 4});
  const at::Tensor slope = torch::autograd::grad({(shift * weights).sum()}, {x})[0];
  for (int64_t i = 0; i < 6; ++i) {
    const auto at_step = [&](float step) {
      at::Tensor other = kInput.clone();
      other.mutable_data_ptr<float>()[i] += step;
      return (logit_shift(all, other, 4) * weights).sum().item<double>();
    };
    EXPECT_NEAR(slope.view({6})[i].item<double>(), (at_step(1e-2f) - at_step(-1e-2f)) / 2e-2, 2e-3) << i;
  }
}

TEST(DrivenEdit, EditsWithoutInputAreHandedOnAsTheyAre) {
  const std::vector<Edit> edits = {edit_of(AddLogit{{1}, {0.75}})};
  const std::vector<ScopedEdit> all = scoped(edits);
  std::vector<ScopedEdit> storage;
  EXPECT_EQ(with_drive(all, kInput, storage).data(), all.data());
}

TEST(DrivenEdit, RoutingWithoutWhatItReadsFails) {
  const std::vector<Edit> edits = {edit_of(gated(1.0, false))};
  EXPECT_ANY_THROW(route(kLogits, spec_of(4, 2, WeightMode::kRaw), scoped(edits)));
}

// --- files
// --------------------------------------------------------------------------------------------------------------

Intervention parse(const std::string& edit) {
  return Intervention::parse(Json::parse(R"({"format": "fare-intervention/1", "edits": [)" + edit + "]}"), "edit.json");
}

RoutedModel model_of(int64_t hidden_size) {
  RoutedModel model;
  model.num_layers = 2;
  model.hidden_size = hidden_size;
  model.moe_layers = {0, 1};
  model.router = spec_of(4, 2, WeightMode::kRaw);
  return model;
}

const char* const kGate = R"({"op": "add_logit", "layers": [1], "experts": [2], "values": [1], "keep_sum": true,
                              "gate": {"vector": [0.5, -1], "offset": 2}})";
const char* const kDelta = R"({"op": "router_delta", "layers": [0], "inputs": [[1, 2]], "outputs": [[1, 0, 0, -1]],
                               "offsets": [0.5], "keep_sum": true, "where": {"token_ids": [7], "following": 8}})";

TEST(DrivenEdit, FilesReadBackAsTheyWereWritten) {
  for (const char* text : {kGate, kDelta}) {
    const Intervention read = parse(text);
    read.check(model_of(2));
    const Json written = Json::parse(read.to_json().dump());
    EXPECT_EQ(Intervention::parse(written, "again").to_json(), read.to_json());
    const Json given = Json::parse(text);
    for (const auto& [field, value] : given.items()) EXPECT_EQ(written["edits"][0][field], value) << field;
  }
  EXPECT_EQ(std::get<AddLogit>(parse(kGate).edits[0].op).gate->offset, 2);
  EXPECT_EQ(parse(kDelta).edits[0].where.following, 8);
}

TEST(DrivenEdit, WrongFilesAreRefusedWithThePlace) {
  const auto refused = [](const std::string& edit, const std::string& word) {
    try {
      parse(edit).check(model_of(2));
      ADD_FAILURE() << "accepted: " << edit;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("edit 0"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused(R"({"op": "add_logit", "layers": [1], "experts": [2], "values": [1], "gate": {"vector": [0.5, -1, 3]}})",
          "input has 2");
  refused(R"({"op": "add_logit", "layers": [1], "experts": [2], "values": [1], "gate": {"vector": []}})", "vector");
  refused(R"({"op": "add_logit", "layers": [1], "experts": [2], "values": [1], "gate": {"vector": [1, 2], "bias": 1}})",
          "bias");
  refused(R"({"op": "add_logit", "layers": [1], "experts": [2], "values": [1], "gate": 3})", "object");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1]], "outputs": [[1, 0, 0, -1]]})", "input has 2");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1, 2]], "outputs": [[1, 0, 0]]})", "4 experts");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1, 2], [3]], "outputs": [[1, 0, 0, 0]]})", "inputs");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1, 2], [3, 4]], "outputs": [[1, 0, 0, 0]]})", "outputs");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [], "outputs": []})", "inputs");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1, 1e31]], "outputs": [[1, 0, 0, 0]]})", "too large");
  refused(R"({"op": "router_delta", "layers": [0], "inputs": [[1, 2]], "outputs": [[1, 0, 0, 0]], "offsets": [1, 2]})",
          "offsets");
  refused(R"({"op": "router_delta", "layers": [5], "inputs": [[1, 2]], "outputs": [[1, 0, 0, 0]]})", "layer 5");
  refused(R"({"op": "activate", "layers": [0], "experts": [1], "where": {"following": 2}})", "token_ids");
  refused(R"({"op": "activate", "layers": [0], "experts": [1], "where": {"token_ids": [1], "following": -1}})",
          "following");
}

TEST(DrivenEdit, FollowingTakesTheRowsAfterANamedToken) {
  const std::string id = "r";
  const std::vector<int32_t> fed = {1, 7, 2, 3, 4, 7, 5, 6};
  const RequestView view{&id, fed, 0, 2, nullptr};
  Selector selector;
  selector.token_ids = {7};
  EXPECT_EQ(resolve(selector, view), (std::vector<uint8_t>{0, 1, 0, 0, 0, 1, 0, 0}));
  selector.following = 2;
  EXPECT_EQ(resolve(selector, view), (std::vector<uint8_t>{0, 1, 1, 1, 0, 1, 1, 1}));
  selector.following = 100;
  EXPECT_EQ(resolve(selector, view), (std::vector<uint8_t>{0, 1, 1, 1, 1, 1, 1, 1}));
  selector.token_ids = {9};
  EXPECT_EQ(resolve(selector, view), std::vector<uint8_t>(8, 0));
  EXPECT_FALSE(selector.depends_on_request());  // what stands before a row decides, and shared rows share it
}

}  // namespace
}  // namespace fare
