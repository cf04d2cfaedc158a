// Settings of Qwen2-MoE and Qwen3-MoE: defaults, the rule of dense layers, what is refused.
#include <gtest/gtest.h>

#include "fare/models/registry.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

// The spec that a config.json alone gives; weights are not looked at.
DecoderSpec spec_of(const std::string& name, const Json& changes = Json::object(),
                    const std::vector<std::string>& remove = {}) {
  const CaseFolder folder(golden_case(name), changes, remove);
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(folder.path());
  const Weights weights(checkpoint, at::kFloat);
  return make_family(*checkpoint, weights, MatmulBackend::kMkl)->spec();
}

std::string refusal(const std::string& name, const Json& changes, const std::vector<std::string>& remove = {}) {
  return message_of<FormatError>([&] { spec_of(name, changes, remove); });
}

TEST(QwenMoe, DenseLayersFollowStepAndList) {
  const auto moe = [](const Json& changes) {
    Json with_layers = {{"num_hidden_layers", 4}};
    with_layers.update(changes);
    return spec_of("qwen3_moe_gqa", with_layers).moe_layers();
  };
  using Layers = std::vector<int64_t>;
  EXPECT_EQ(moe(Json::object()), (Layers{0, 1, 2, 3}));
  EXPECT_EQ(moe({{"decoder_sparse_step", 2}}), (Layers{1, 3}));
  EXPECT_EQ(moe({{"decoder_sparse_step", 3}}), (Layers{2}));
  EXPECT_EQ(moe({{"mlp_only_layers", {0, 2}}}), (Layers{1, 3}));
  EXPECT_EQ(moe({{"mlp_only_layers", {1}}, {"decoder_sparse_step", 2}}), (Layers{3}));
  EXPECT_EQ(moe({{"mlp_only_layers", nullptr}}), (Layers{0, 1, 2, 3}));
  EXPECT_EQ(moe({{"num_experts", 0}}), (Layers{}));
  EXPECT_EQ(moe({{"decoder_sparse_step", 9}}), (Layers{}));
}

TEST(QwenMoe, AbsentKeysHaveTheDefaultsOfTheClass) {
  const DecoderSpec two = spec_of("qwen2_moe_gqa", Json::object(),
                                  {"rms_norm_eps", "rope_theta", "norm_topk_prob", "tie_word_embeddings",
                                   "max_position_embeddings", "decoder_sparse_step", "hidden_act"});
  EXPECT_EQ(two.rms_norm_eps, 1e-6);
  EXPECT_EQ(two.rope.theta, 10000);
  EXPECT_EQ(two.max_positions, 32768);
  EXPECT_EQ(two.router.weight_mode, WeightMode::kRaw);
  EXPECT_FALSE(two.tied_head);
  EXPECT_FALSE(two.sliding_window);
  EXPECT_TRUE(two.router.has_shared_expert);
  const DecoderSpec three =
      spec_of("qwen3_moe_gqa", Json::object(), {"rms_norm_eps", "norm_topk_prob", "head_dim", "attention_bias"});
  EXPECT_EQ(three.rms_norm_eps, 1e-6);
  EXPECT_EQ(three.router.weight_mode, WeightMode::kRaw);
  EXPECT_EQ(three.head_dim, 8);
  EXPECT_FALSE(three.attention_bias);
  EXPECT_FALSE(three.router.has_shared_expert);
}

TEST(QwenMoe, AModelWithoutMoeLayersNeedsNoExpertSettings) {
  for (const char* name : {"qwen2_moe_gqa", "qwen3_moe_gqa"}) {
    const DecoderSpec spec =
        spec_of(name, {{"num_experts", 0}},
                {"num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"});
    EXPECT_TRUE(spec.moe_layers().empty());
    EXPECT_FALSE(spec.router.has_shared_expert);
  }
}

TEST(QwenMoe, TheWindowOfQwen3IsOnlyThereWhenItIsUsed) {
  const auto window = [](const Json& changes, const std::vector<std::string>& remove = {}) {
    return spec_of("qwen3_moe_gqa", changes, remove).sliding_window;
  };
  EXPECT_EQ(window({{"use_sliding_window", true}, {"sliding_window", 7}}), 7);
  EXPECT_EQ(window({{"use_sliding_window", true}}), 4096);
  EXPECT_EQ(window({{"use_sliding_window", true}, {"sliding_window", nullptr}}), std::nullopt);
  EXPECT_EQ(window({{"use_sliding_window", false}, {"sliding_window", 7}}), std::nullopt);
  EXPECT_EQ(window({{"sliding_window", 0}}, {"use_sliding_window"}), std::nullopt);
  EXPECT_HAS(refusal("qwen3_moe_gqa", {{"use_sliding_window", true}, {"sliding_window", 0}}), "sliding_window");
}

TEST(QwenMoe, Qwen2WindowsAreRefusedByTheirKey) {
  EXPECT_HAS(refusal("qwen2_moe_gqa", {{"use_sliding_window", true}}), "use_sliding_window");
  const std::string text = refusal("qwen2_moe_gqa", {{"layer_types", {"full_attention", "sliding_attention"}}});
  EXPECT_HAS(text, "layer_types");
  EXPECT_HAS(text, "sliding_attention");
}

TEST(QwenMoe, WhatDecidesTheArchitectureIsNotGuessed) {
  for (const char* key :
       {"num_experts", "num_experts_per_tok", "moe_intermediate_size", "num_key_value_heads", "hidden_size"}) {
    EXPECT_HAS(refusal("qwen2_moe_gqa", Json::object(), {key}), key);
    EXPECT_HAS(refusal("qwen3_moe_gqa", Json::object(), {key}), key);
  }
  EXPECT_HAS(refusal("qwen2_moe_gqa", Json::object(), {"shared_expert_intermediate_size"}),
             "shared_expert_intermediate_size");
  // The width of dense layers, where there are some.
  EXPECT_NO_THROW(spec_of("qwen2_moe_gqa", Json::object(), {"intermediate_size"}));
  EXPECT_HAS(refusal("qwen2_moe_gqa", {{"mlp_only_layers", {0}}}, {"intermediate_size"}), "intermediate_size");
}

TEST(QwenMoe, ValuesThatMakeNoSenseAreRefusedByTheirKey) {
  for (const char* name : {"qwen2_moe_gqa", "qwen3_moe_gqa"}) {
    const std::string text = refusal(name, {{"num_experts_per_tok", 5}});
    EXPECT_HAS(text, "num_experts_per_tok");
    EXPECT_HAS(text, "5");
    EXPECT_HAS(refusal(name, {{"decoder_sparse_step", 0}}), "decoder_sparse_step");
    EXPECT_HAS(refusal(name, {{"mlp_only_layers", 1}}), "mlp_only_layers");
    EXPECT_HAS(refusal(name, {{"norm_topk_prob", "yes"}}), "norm_topk_prob");
    EXPECT_HAS(refusal(name, {{"hidden_act", "gelu"}}), "hidden_act");
  }
  EXPECT_HAS(refusal("qwen2_moe_gqa", {{"qkv_bias", 1}}), "qkv_bias");
  EXPECT_HAS(refusal("qwen3_moe_gqa", {{"num_local_experts", 5}}), "num_local_experts");  // contradicts num_experts
}

}  // namespace
}  // namespace fare
