// DeepSeek V1 and V2: what is refused and how, vectors of their settings, and the switch for the factor of the softmax
// scale.
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

std::string refusal(const std::string& name, const Json& changes, const std::vector<std::string>& remove = {}) {
  const CaseFolder folder(golden_case(name), changes, remove);
  return message_of<FormatError>([&] { Model::open(folder.path(), {}); });
}

void expect_refused(const std::string& name, const Json& changes, const std::vector<std::string>& parts,
                    const std::vector<std::string>& remove = {}) {
  const std::string text = refusal(name, changes, remove);
  EXPECT_HAS(text, "config.json");
  for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << changes.dump() << "\n" << text;
}

constexpr const char* kBoth[] = {"deepseek_first_dense", "deepseek_v2_lite"};

TEST(Deepseek, RefusesWhatBothFamiliesDoNotCompute) {
  for (const char* name : kBoth) {
    expect_refused(name, {{"scoring_func", "sigmoid"}}, {"scoring_func", "'sigmoid'", "accepted: softmax"});
    expect_refused(name, {{"num_experts_per_tok", 6}},
                   {"num_experts_per_tok", "6 is more than the 5 experts", "1 to 5"});
    expect_refused(name, {{"num_experts_per_tok", nullptr}}, {"num_experts_per_tok"});
    expect_refused(name, Json::object(), {"n_routed_experts", "is missing", "null means"}, {"n_routed_experts"});
    expect_refused(name, {{"n_routed_experts", 0}}, {"n_routed_experts"});
    expect_refused(name, {{"n_shared_experts", -1}}, {"n_shared_experts"});
    expect_refused(name, {{"moe_layer_freq", 0}}, {"moe_layer_freq"});
    expect_refused(name, {{"first_k_dense_replace", -1}}, {"first_k_dense_replace"});
    expect_refused(name, Json::object(), {"moe_intermediate_size"}, {"moe_intermediate_size"});
    expect_refused(name, Json::object(), {"intermediate_size"}, {"intermediate_size"});
    expect_refused(name, {{"hidden_act", "gelu"}}, {"hidden_act", "'gelu'", "silu"});
    expect_refused(name, {{"partial_rotary_factor", 0.5}}, {"partial_rotary_factor", "only 1"});
    expect_refused(name, {{"quantization_config", {{"quant_method", "fp8"}}}}, {"quantization_config"});
    expect_refused(name, {{"norm_topk_prob", 1}}, {"norm_topk_prob"});
  }
}

TEST(Deepseek, FirstFamilyRefusesOtherRopes) {
  const auto scaling = [](Json rope) { return Json{{"rope_scaling", std::move(rope)}}; };
  expect_refused("deepseek_first_dense", scaling({{"type", "yarn"}, {"factor", 4.0}}),
                 {"rope_scaling", "'yarn'", "linear", "dynamic"});
  expect_refused("deepseek_first_dense", scaling({{"type", "linear"}, {"factor", 1.0}}),
                 {"rope_scaling", "factor", "above 1", "1.0"});
  expect_refused("deepseek_first_dense", scaling({{"type", "linear"}, {"factor", 0.5}}),
                 {"rope_scaling", "factor", "0.5"});
  expect_refused("deepseek_first_dense", scaling({{"type", "linear"}}), {"rope_scaling", "factor"});
  expect_refused("deepseek_first_dense", scaling({{"factor", 2.0}}), {"rope_scaling", "type"});
  expect_refused("deepseek_first_dense", scaling({{"type", "linear"}, {"factor", 2.0}, {"beta_fast", 32}}),
                 {"rope_scaling.beta_fast"});
  expect_refused("deepseek_first_dense", {{"rope_parameters", {{"rope_type", "llama3"}}}}, {"rope_parameters"});
  expect_refused("deepseek_first_dense", {{"num_key_value_heads", 3}}, {"num_attention_heads", "not divisible"});
  expect_refused("deepseek_first_dense", Json::object(), {"num_key_value_heads", "is missing"},
                 {"num_key_value_heads"});
  expect_refused("deepseek_first_dense", {{"head_dim", 16}}, {"head_dim", "16"});
}

TEST(Deepseek, SecondFamilyRefusesOtherRouters) {
  const char* lite = "deepseek_v2_lite";
  expect_refused(lite, {{"topk_method", "noaux_tc"}}, {"topk_method", "'noaux_tc'", "greedy, group_limited_greedy"});
  expect_refused(lite, {{"mlp_bias", true}}, {"mlp_bias", "accepted: false"});
  expect_refused(lite, {{"routed_scaling_factor", 0}}, {"routed_scaling_factor", "positive"});
  expect_refused(lite, Json::object(), {"n_shared_experts", "is missing", "disagree"}, {"n_shared_experts"});
  const auto groups = [](const Json& n, const Json& kept) {
    return Json{{"topk_method", "group_limited_greedy"}, {"n_group", n}, {"topk_group", kept}};
  };
  const char* eight = "deepseek_v2_groups_keep_two";
  expect_refused(eight, groups(3, 2), {"n_group", "3 does not divide the 8 experts"});
  expect_refused(eight, groups(4, 5), {"topk_group", "5 is more than the 4 groups"});
  expect_refused(eight, groups(4, 0), {"topk_group"});
  expect_refused(eight, groups(nullptr, 2), {"n_group"});
  expect_refused(eight, groups(4, nullptr), {"topk_group"});
  expect_refused(eight, Json::object(), {"topk_group"}, {"topk_group"});
  expect_refused(eight, Json::object(), {"n_group"}, {"n_group"});
}

TEST(Deepseek, SecondFamilyRefusesSizesThatItCannotUse) {
  for (const char* key : {"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"}) {
    expect_refused("deepseek_v2_lite", Json::object(), {key}, {key});
    expect_refused("deepseek_v2_lite", {{key, 0}}, {key});
  }
  expect_refused("deepseek_v2_lite", {{"qk_rope_head_dim", 7}}, {"qk_rope_head_dim", "even", "7"});
  expect_refused("deepseek_v2_lite", {{"q_lora_rank", 0}}, {"q_lora_rank"});
}

TEST(Deepseek, SecondFamilyRefusesRopesThatPublishedReadersReadDifferently) {
  const auto with = [](const Json& changes, const std::vector<std::string>& remove = {}) {
    Json rope = golden_case("deepseek_v2_lite").at("config").at("rope_scaling");
    rope.update(changes);
    for (const std::string& key : remove) rope.erase(key);
    return Json{{"rope_scaling", rope}};
  };
  const auto refuses = [&](const Json& changes, const std::vector<std::string>& parts) {
    expect_refused("deepseek_v2_lite", changes, parts);
  };
  refuses(with(Json::object(), {"mscale_all_dim"}), {"rope_scaling", "disagree", "mscale"});
  refuses(with({{"mscale_all_dim", 0}}), {"rope_scaling", "disagree"});
  refuses(with(Json::object(), {"mscale"}), {"rope_scaling", "disagree"});
  refuses(with({{"mscale", 0}}), {"rope_scaling", "disagree"});
  refuses(with({{"attention_factor", 1.5}}), {"rope_scaling", "attention_factor"});
  refuses(with({{"truncate", false}}), {"rope_scaling", "truncate"});
  refuses(with(Json::object(), {"original_max_position_embeddings"}),
          {"rope_scaling", "original_max_position_embeddings", "missing"});
  refuses({{"rope_scaling",
            {{"type", "llama3"},
             {"factor", 8.0},
             {"low_freq_factor", 1.0},
             {"high_freq_factor", 4.0},
             {"original_max_position_embeddings", 64}}}},
          {"rope_scaling", "linear, dynamic and yarn"});
  refuses({{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}}}},
          {"rope_parameters", "original_max_position_embeddings"});
  // Where the readers agree nothing is refused: a factor up to 1 makes every m equal to 1.
  const CaseFolder folder(golden_case("deepseek_v2_lite"),
                          with({{"mscale", 0.5}, {"factor", 1.0}}, {"mscale_all_dim"}));
  EXPECT_EQ(Model::open(folder.path(), {})->spec().attention_scale_factor, 1);
}

TEST(Deepseek, ReadsTheScaleOfTheLiteModel) {
  const Json one = golden_case("deepseek_v2_lite");
  const CaseFolder folder(one);
  const auto model = Model::open(folder.path(), {});
  EXPECT_NEAR(model->spec().attention_scale_factor, 1.5896262, 1e-7);  // m(40, 0.707)^2
  EXPECT_NEAR(model->spec().attention_scale, 1 / std::sqrt(14.0), 1e-12);
  EXPECT_TRUE(model->spec().rope.interleaved);
  EXPECT_EQ(model->spec().num_kv_heads, 4);
  EXPECT_EQ(model->spec().value_dim, 10);
}

TEST(Deepseek, TheSwitchLeavesTheFactorOut) {
  const CaseFolder scaled(golden_case("deepseek_v2_linear_scale_factor"));
  const CaseFolder plain(golden_case("deepseek_v2_linear_scale_factor"),
                         {{"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}});
  const Pack pack = pack_of({{3, 1, 41, 5, 9, 26}});
  const auto logits = [&](const CaseFolder& folder, bool factor) {
    const auto model = Model::open(folder.path(), {.scale_factor = factor});
    return model->head(forward(*model, pack));
  };
  EXPECT_TRUE(at::equal(logits(scaled, false), logits(plain, true)));
  EXPECT_GT(distance(logits(scaled, true), logits(plain, true)), 0.01);
}

TEST(Deepseek, OnlyTheSecondFamilyKeepsItsRouterInFloat) {
  for (const auto& [name, rounded] : {std::pair{"deepseek_first_dense", true}, {"deepseek_v2_lite", false}}) {
    const CaseFolder folder(golden_case(name));
    const auto model = Model::open(folder.path(), {.dtype = at::kBFloat16});
    at::Tensor logits;
    ForwardOptions options;
    options.tap = [&](Site site, int64_t, const at::Tensor& value) {
      if (site == Site::kRouterLogits) logits = value;
    };
    forward(*model, pack_of({{3, 1, 41, 5, 9, 26}}), options);
    EXPECT_EQ(at::equal(logits, logits.to(at::kBFloat16).to(at::kFloat)), rounded) << name;
  }
}

TEST(Deepseek, AModelWithoutMoeLayersRuns) {
  const CaseFolder folder(golden_case("deepseek_dense_model"));
  const auto model = Model::open(folder.path(), {});
  EXPECT_TRUE(model->spec().moe_layers().empty());
  int64_t visited = 0;
  router_gradients(*model, pack_of({{1, 2, 3}}), std::vector<ScoredToken>{{1, 2, 1.0}},
                   [&](const LayerGradient&) { ++visited; });
  EXPECT_EQ(visited, 0);
}

}  // namespace
}  // namespace fare
