// The loop over layers: shared prefixes, caches, resuming, taps and edits.
#include "fare/models/forward.h"

#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

// Three sequences of 9, 12 and 8 tokens that share their first 5; the last two share 7.
const std::vector<int32_t> kFirst = {3, 14, 15, 9, 26, 53, 58, 9, 7},
                           kSecond = {3, 14, 15, 9, 26, 1, 2, 40, 41, 42, 43, 44},
                           kThird = {3, 14, 15, 9, 26, 1, 2, 60};

Pack shared_pack(bool with_length = false) {
  Pack pack;
  pack.token_ids = {3, 14, 15, 9, 26, 53, 58, 9, 7, 1, 2, 40, 41, 42, 43, 44, 60};
  pack.positions = {0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 9, 10, 11, 7};
  pack.multiplicity = {3, 3, 3, 3, 3, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1};
  pack.segments = {{0, 5, -1}, {5, 4, 0}, {9, 2, 0}, {11, 5, 2}, {16, 1, 2}};
  if (with_length) pack.length.assign(17, 64);
  return pack;
}

// One model of every family, and some with more to go wrong.
std::vector<std::string> models() {
  std::vector<std::string> names = first_cases();
  names.insert(names.end(), {"deepseek_bias", "deepseek_v2_groups_keep_one", "olmoe_clip", "olmoe_k8_of_64",
                             "mixtral_window", "mixtral_yarn", "qwen2_moe_step", "qwen3_moe_window"});
  return names;
}

TEST(Forward, ATreeOfSharedPrefixesEqualsSeparateSequences) {
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    const at::Tensor tree = forward(*model, shared_pack());
    const std::vector<std::pair<std::vector<int32_t>, std::vector<int64_t>>> paths = {
        {kFirst, {0, 1, 2, 3, 4, 5, 6, 7, 8}},
        {kSecond, {0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15}},
        {kThird, {0, 1, 2, 3, 4, 9, 10, 16}}};
    for (const auto& [ids, rows] : paths)
      EXPECT_TRUE(near(tree.index_select(0, at::tensor(rows)), forward(*model, pack_of({ids})), 1e-5)) << name;
  }
}

TEST(Forward, DecodingWithACacheEqualsOneForward) {
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    const at::Tensor whole = forward(*model, pack_of({kSecond}));
    KvCache cache(model->spec().num_layers);
    ForwardOptions options;
    options.cache = &cache;
    std::vector<at::Tensor> rows;
    const std::vector<size_t> steps = {5, 1, 1, 3, 1, 1};
    size_t first = 0;
    for (const size_t count : steps) {
      Pack pack;
      for (size_t i = first; i < first + count; ++i) {
        pack.token_ids.push_back(kSecond[i]);
        pack.positions.push_back(static_cast<int32_t>(i));
        pack.multiplicity.push_back(1);
      }
      first += count;
      pack.segments = {{0, static_cast<int32_t>(first), -1}};
      rows.push_back(forward(*model, pack, options));
    }
    EXPECT_EQ(cache.num_rows(), 12);
    EXPECT_TRUE(near(at::cat(rows), whole, 1e-5)) << name;
  }
}

TEST(Forward, TwoSequencesGrowInOneCache) {
  const CaseFolder folder(golden_case("mixtral_window"));
  const auto model = Model::open(folder.path(), {});
  KvCache cache(model->spec().num_layers);
  ForwardOptions options;
  options.cache = &cache;
  Pack start = pack_of({{4, 8, 15}, {16, 23}}, false);
  forward(*model, start, options);
  Pack step;  // one more token for each: new segments that continue the old ones
  step.token_ids = {42, 43};
  step.positions = {3, 2};
  step.multiplicity = {1, 1};
  step.segments = {{0, 3, -1}, {3, 2, -1}, {5, 1, 0}, {6, 1, 1}};
  const at::Tensor rows = forward(*model, step, options);
  EXPECT_TRUE(near(rows[0], forward(*model, pack_of({{4, 8, 15, 42}}))[3], 1e-5));
  EXPECT_TRUE(near(rows[1], forward(*model, pack_of({{16, 23, 43}}))[2], 1e-5));
}

TEST(Forward, WhatTapsSeeIsNotChangedLater) {
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    std::map<int64_t, at::Tensor> inputs, copies;
    ForwardOptions options;
    options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
      if (site != Site::kLayerInput) return;
      inputs[layer] = value;
      copies[layer] = value.clone();
    };
    forward(*model, shared_pack(), options);
    for (const auto& [layer, input] : inputs)
      EXPECT_TRUE(at::equal(input, copies.at(layer))) << name << " layer " << layer;
  }
}

TEST(Forward, TapsAndEmptyEditsChangeNoBit) {
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  const at::Tensor plain = forward(*model, shared_pack());
  ForwardOptions options;
  std::map<Site, std::vector<int64_t>> shapes;
  options.tap = [&](Site site, int64_t, const at::Tensor& value) { shapes[site] = value.sizes().vec(); };
  int64_t decisions = 0;
  options.on_decision = [&](int64_t, const at::Tensor&, const Decision&) { ++decisions; };
  const LayerEdits none;
  Receipt receipt;
  options.edits = &none;
  options.receipt = &receipt;
  EXPECT_TRUE(at::equal(forward(*model, shared_pack(), options), plain));
  EXPECT_EQ(decisions, 2);
  EXPECT_EQ(shapes[Site::kRouterLogits], (std::vector<int64_t>{17, 4}));
  EXPECT_EQ(shapes[Site::kRouterInput], (std::vector<int64_t>{17, 32}));
  EXPECT_EQ(shapes[Site::kRoutedOutput], (std::vector<int64_t>{17, 32}));
  EXPECT_TRUE(receipt.layers.empty());
}

TEST(Forward, AnEditMovesItsLayerAndLaterOnesOnlyAndOnlyLaterRowsOfItsPath) {
  const CaseFolder folder(golden_case("olmoe_mqa"));  // three layers
  const auto model = Model::open(folder.path(), {});
  const auto run = [&](const LayerEdits* edits) {
    std::map<int64_t, at::Tensor> logits;
    ForwardOptions options;
    options.edits = edits;
    options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
      if (site == Site::kRouterLogits) logits[layer] = value.clone();
    };
    logits[3] = forward(*model, shared_pack(), options);
    return logits;
  };
  const auto before = run(nullptr);
  const Edit edit{AddLogit{{0}, {5.0}}, {1}, {}};
  std::vector<uint8_t> scope(17, 0);
  scope[6] = 1;  // a row of the first branch
  const LayerEdits edits = {{1, {ScopedEdit{&edit, scope, {}}}}};
  const auto after = run(&edits);
  EXPECT_TRUE(at::equal(after.at(0), before.at(0)));
  EXPECT_TRUE(at::equal(after.at(1), before.at(1)));  // raw logits, before the edit
  for (const int64_t layer : {2, 3})
    for (int64_t row = 0; row < 17; ++row) {
      const bool may_move = row >= 6 && row <= 8;  // itself and the rows after it on its path
      EXPECT_EQ(near(after.at(layer)[row], before.at(layer)[row], 1e-6), !may_move)
          << "layer " << layer << " row " << row;
    }
}

TEST(Forward, ReplayOfItsOwnRouteAndTheNullPatchChangeNothing) {
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto model = Model::open(folder.path(), {});
  const Pack pack = pack_of({kFirst, kSecond}, false);
  auto table = std::make_shared<RouteTable>();
  ForwardOptions record;
  record.on_decision = [&](int64_t layer, const at::Tensor&, const Decision& decision) {
    const Route& route = decision.after;
    table->layers[layer] = {
        route.ids_TK.size(1),
        {route.ids_TK.const_data_ptr<int32_t>(), route.ids_TK.const_data_ptr<int32_t>() + route.ids_TK.numel()},
        {route.weights_TK.const_data_ptr<float>(),
         route.weights_TK.const_data_ptr<float>() + route.weights_TK.numel()}};
  };
  const at::Tensor plain = forward(*model, pack, record);
  table->token_ids = pack.token_ids;
  table->offsets = {0, 9, 21};
  const Edit replay{ForceRoutes{table, ""}, {}, {}};
  ScopedEdit scoped{&replay, {}, {}};
  for (int64_t t = 0; t < pack.num_rows(); ++t) scoped.table_row_T.push_back(t);
  LayerEdits edits;
  for (int64_t l = 0; l < model->spec().num_layers; ++l) edits[l] = {scoped};
  ForwardOptions options;
  options.edits = &edits;
  EXPECT_TRUE(near(forward(*model, pack, options), plain, 1e-6));
}

TEST(Forward, BfloatRunsStayNearFloatRuns) {
  for (const char* name : {"olmoe_gqa", "mixtral_gqa"}) {
    const CaseFolder folder(golden_case(name));
    const auto exact = Model::open(folder.path(), {}), coarse = Model::open(folder.path(), {.dtype = at::kBFloat16});
    // Routes are taken from the exact run: one expert changed by rounding would say nothing about precision.
    auto table = std::make_shared<RouteTable>();
    ForwardOptions record;
    record.on_decision = [&](int64_t layer, const at::Tensor&, const Decision& d) {
      const Route& r = d.after;
      table->layers[layer] = {
          r.ids_TK.size(1),
          {r.ids_TK.const_data_ptr<int32_t>(), r.ids_TK.const_data_ptr<int32_t>() + r.ids_TK.numel()},
          {r.weights_TK.const_data_ptr<float>(), r.weights_TK.const_data_ptr<float>() + r.weights_TK.numel()}};
    };
    const at::Tensor expected = forward(*exact, shared_pack(), record);
    table->token_ids = shared_pack().token_ids;
    table->offsets = {0, 17};
    const Edit replay{ForceRoutes{table, ""}, {}, {}};
    ScopedEdit scoped{&replay, {}, {}};
    for (int64_t t = 0; t < 17; ++t) scoped.table_row_T.push_back(t);
    const LayerEdits edits = {{0, {scoped}}, {1, {scoped}}};
    ForwardOptions options;
    options.edits = &edits;
    EXPECT_TRUE(near(forward(*coarse, shared_pack(), options), expected, 0.05)) << name;
  }
}

TEST(Forward, RepeatedRunsAreBitEqual) {
  for (const std::string& name : models()) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {});
    const at::Tensor first = model->head(forward(*model, shared_pack()));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(model->head(forward(*model, shared_pack())), first)) << name;
  }
}

}  // namespace
}  // namespace fare
