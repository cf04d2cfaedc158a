// An expert more: against transformers with the same expert appended (tests/golden/graft), and what must not change.
#include "fare/models/graft.h"

#include <gtest/gtest.h>

#include "fare/models/test_models.h"
#include "fare/routing/absent_expert.h"

namespace fare {
namespace {

using namespace testing;

struct Seen {
  at::Tensor logits;
  std::map<int64_t, at::Tensor> inputs, router_logits;  // by layer
  std::map<int64_t, Route> routes;
};

Seen run(const Model& model, const std::vector<int32_t>& ids) {
  Seen seen;
  ForwardOptions options;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kLayerInput) seen.inputs[layer] = value.clone();
  };
  options.on_decision = [&](int64_t layer, const at::Tensor& logits, const Decision& decision) {
    seen.router_logits[layer] = logits.clone();
    seen.routes[layer] = decision.after;
  };
  seen.logits = model.head(forward(model, pack_of({ids}, false), options));
  return seen;
}

Graft some_graft(const Model& model, int64_t layer) {
  at::manual_seed(3);
  const int64_t d = model.spec().hidden_size;
  Graft graft{layer, at::randn({d}) * 2, {}};
  graft.expert.gate_ID = at::randn({2, d});
  graft.expert.up_ID = at::randn({2, d});
  graft.expert.down_DI = at::randn({d, 2});
  return graft;
}

const std::vector<int32_t> kIds = {3, 1, 41, 5, 9, 26, 5, 35, 8, 9, 7, 9, 3, 2};

class GraftGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(GraftGolden, LogitsAreThoseOfACheckpointWithTheExpertAppended) {
  const CaseFolder folder(golden_case(GetParam()));
  const auto base = Model::open(folder.path(), {});
  const SafetensorsFile expected(source_folder() / "tests/golden/graft" / (GetParam() + ".safetensors"));
  const at::Tensor ids = tensor_of(expected, "input_ids");
  const std::vector<int32_t> tokens(ids.const_data_ptr<int32_t>(), ids.const_data_ptr<int32_t>() + ids.numel());
  Graft graft{base->spec().moe_layers().back(), tensor_of(expected, "router_row"), {}};
  graft.expert.gate_ID = tensor_of(expected, "gate");
  graft.expert.up_ID = tensor_of(expected, "up");
  graft.expert.down_DI = tensor_of(expected, "down");
  const auto grafted = Model::grafted(*base, graft);
  EXPECT_TRUE(near(run(*base, tokens).logits, tensor_of(expected, "logits_before"), 1e-4));
  const Seen seen = run(*grafted, tokens);
  EXPECT_TRUE(near(seen.logits, tensor_of(expected, "logits"), 1e-4));
  EXPECT_GT(distance(tensor_of(expected, "logits_before"), tensor_of(expected, "logits")), 0.05)
      << "the expert says nothing";
  const at::Tensor chosen = (seen.routes.at(graft.layer).ids_TK == base->spec().router.num_experts).any(1).to(at::kInt);
  EXPECT_TRUE(at::equal(chosen, tensor_of(expected, "chosen")));
}

INSTANTIATE_TEST_SUITE_P(Cases, GraftGolden,
                         ::testing::Values("mixtral_gqa", "olmoe_gqa", "qwen2_moe_gqa", "qwen3_moe_gqa"));

class EveryFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryFamily, ChangesItsLayerAloneAndSharesTheWeights) {
  const CaseFolder folder(golden_case(GetParam()));
  const auto base = Model::open(folder.path(), {});
  if (!graft_obstacle(*base).empty()) GTEST_SKIP() << graft_obstacle(*base);
  const std::vector<int64_t> layers = base->spec().moe_layers();
  const int64_t layer = layers.back(), added = base->spec().router.num_experts;
  const auto grafted = Model::grafted(*base, some_graft(*base, layer));
  EXPECT_EQ(&grafted->weights(), &base->weights());
  EXPECT_EQ(grafted->spec().router.num_experts, added + 1);
  EXPECT_EQ(grafted->router(layer).num_experts, added + 1);
  EXPECT_NE(grafted->routed().fingerprint(), base->routed().fingerprint());
  const Seen before = run(*base, kIds), after = run(*grafted, kIds);
  for (const int64_t l : layers) {
    EXPECT_TRUE(at::equal(before.inputs.at(l), after.inputs.at(l))) << "layer " << l;
    EXPECT_TRUE(at::equal(before.router_logits.at(l), after.router_logits.at(l).narrow(1, 0, added))) << "layer " << l;
    if (l == layer) continue;
    EXPECT_TRUE(at::equal(before.routes.at(l).ids_TK, after.routes.at(l).ids_TK)) << "layer " << l;
    EXPECT_TRUE(at::equal(before.routes.at(l).weights_TK, after.routes.at(l).weights_TK)) << "layer " << l;
  }
  const at::Tensor chosen = (after.routes.at(layer).ids_TK == added).any(1);
  EXPECT_TRUE(chosen.any().item<bool>());
  EXPECT_FALSE(at::equal(before.logits, after.logits));
}

TEST_P(EveryFamily, AnAbsentExpertIsNeverChosenAndWritesNothing) {
  const CaseFolder folder(golden_case(GetParam()));
  const auto base = Model::open(folder.path(), {});
  const std::vector<int64_t> layers = base->spec().moe_layers();
  if (!graft_obstacle(*base).empty() || layers.size() < 2)
    GTEST_SKIP() << "needs two layers in which an expert can be added";
  const auto grafted = Model::grafted(*base, some_graft(*base, layers.back()));
  const Seen seen = run(*grafted, kIds);
  const int64_t added = base->spec().router.num_experts;
  EXPECT_TRUE(seen.router_logits.at(layers.front()).select(1, added).eq(kAbsentLogit).all().item<bool>());
  const at::Tensor x = at::randn({3, base->spec().hidden_size});
  const at::Tensor output =
      expert_output(x, grafted->family().expert(layers.front(), added), base->execution().backend);
  EXPECT_TRUE(output.eq(0).all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(First, EveryFamily, ::testing::ValuesIn(first_cases()),
                         [](const auto& one) { return one.param; });

TEST(GraftTest, TwoGraftsHaveTwoFingerprints) {
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto base = Model::open(folder.path(), {});
  Graft graft = some_graft(*base, 1);
  const std::string first = Model::grafted(*base, graft)->routed().fingerprint();
  EXPECT_EQ(Model::grafted(*base, graft)->routed().fingerprint(), first);
  graft.expert.down_DI = graft.expert.down_DI * 2;
  EXPECT_NE(Model::grafted(*base, graft)->routed().fingerprint(), first);
}

TEST(GraftTest, RefusesGroupsDenseLayersAndOtherShapesWithTheReason) {
  const CaseFolder groups(golden_case("deepseek_v2_groups_keep_one"));
  const auto grouped = Model::open(groups.path(), {});
  EXPECT_HAS(graft_obstacle(*grouped), "groups of equal size");
  EXPECT_HAS(message_of<ModelMismatch>(
                 [&] { Model::grafted(*grouped, some_graft(*grouped, grouped->spec().moe_layers().back())); }),
             "groups of equal size");
  const CaseFolder first_dense(golden_case("deepseek_first_dense"));
  const auto dense = Model::open(first_dense.path(), {});
  EXPECT_HAS(message_of<ModelMismatch>([&] { Model::grafted(*dense, some_graft(*dense, 0)); }),
             "layer 0: it has no experts");
  const CaseFolder folder(golden_case("olmoe_gqa"));
  const auto base = Model::open(folder.path(), {});
  Graft graft = some_graft(*base, 1);
  graft.router_row_D = at::zeros({7});
  EXPECT_HAS(message_of<ModelMismatch>([&] { Model::grafted(*base, graft); }), "router row of 32 numbers");
}

}  // namespace
}  // namespace fare
