// What a checkpoint that cannot be run, or that would be run differently elsewhere, is told.
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

struct Tensors {
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>> values;

  explicit Tensors(const std::string& weights) {
    const SafetensorsFile file(golden_folder() / "weights" / weights / "model.safetensors");
    for (const TensorInfo& info : file.tensors()) {
      const TensorView view = file.tensor(info.name);
      const at::ScalarType type = view.dtype == Dtype::kF32   ? at::kFloat
                                  : view.dtype == Dtype::kF16 ? at::kHalf
                                                              : at::kBFloat16;
      at::Tensor copy = at::empty(view.shape, type);
      std::memcpy(copy.mutable_data_ptr(), view.data, view.num_bytes);
      copy = copy.to(at::kFloat);
      values[info.name] = {view.shape, {copy.const_data_ptr<float>(), copy.const_data_ptr<float>() + copy.numel()}};
    }
  }
  void write(const std::filesystem::path& path) const {
    std::vector<TensorData> data;
    for (const auto& [name, tensor] : values)
      data.push_back({name, Dtype::kF32, tensor.first, std::as_bytes(std::span(tensor.second))});
    write_safetensors(path, data);
  }
};

std::string refusal_of(const CaseFolder& folder, Execution execution = {}) {
  return message_of<ModelMismatch>([&] { Model::open(folder.path(), execution); });
}

std::string config_refusal(const std::string& name, const Json& changes, const std::vector<std::string>& remove = {}) {
  const CaseFolder folder(golden_case(name), changes, remove);
  return message_of<FormatError>([&] { Model::open(folder.path(), {}); });
}

TEST(Loader, AllTensorProblemsAreInOneMessage) {
  const CaseFolder folder(golden_case("olmoe_mha"));
  Tensors tensors("olmoe_mha");
  tensors.values.erase("model.layers.1.mlp.experts.2.up_proj.weight");
  tensors.values.erase("model.norm.weight");
  tensors.values["model.layers.0.self_attn.q_norm.weight"] = {{8}, std::vector<float>(8, 1.0f)};
  tensors.values["model.layers.0.mlp.shared.weight"] = {{2}, {1, 2}};
  tensors.values["model.layers.7.rotary_emb.inv_freq"] = {{2}, {1, 2}};  // known to be harmless
  tensors.write(folder.path() / "model.safetensors");
  const std::string text = refusal_of(folder);
  EXPECT_HAS(text, "missing tensor 'model.layers.1.mlp.experts.2.up_proj.weight' [24, 32]");
  EXPECT_HAS(text, "missing tensor 'model.norm.weight' [32]");
  EXPECT_HAS(text, "'model.layers.0.self_attn.q_norm.weight' has shape [8], expected [32]");
  EXPECT_HAS(text, "unexpected tensor 'model.layers.0.mlp.shared.weight'");
  EXPECT_EQ(text.find("inv_freq"), std::string::npos);
}

TEST(Loader, ASizeThatTheConfigLiesAboutIsSeen) {
  const CaseFolder folder(golden_case("mixtral_gqa"), {{"intermediate_size", 32}, {"num_hidden_layers", 3}});
  const std::string text = refusal_of(folder);
  EXPECT_HAS(text, "'model.layers.0.block_sparse_moe.experts.0.w1.weight' has shape [24, 32], expected [32, 32]");
  EXPECT_HAS(text, "missing tensor 'model.layers.2.input_layernorm.weight'");
}

TEST(Loader, ANumberThatIsNoneIsNamedOnFirstUse) {
  const CaseFolder folder(golden_case("olmoe_mha"));
  for (const float bad : {std::nanf(""), INFINITY}) {
    Tensors tensors("olmoe_mha");
    tensors.values["model.layers.1.self_attn.v_proj.weight"].second[32 * 3 + 5] = bad;
    tensors.write(folder.path() / "model.safetensors");
    const auto model = Model::open(folder.path(), {});
    const std::string text = message_of<NumericError>([&] { forward(*model, pack_of({{1, 2, 3}})); });
    EXPECT_HAS(text, "model.layers.1.self_attn.v_proj.weight");
    EXPECT_HAS(text, "[3, 5]");
  }
}

TEST(Loader, ATiedHeadMayBeStoredWhenItIsTheEmbedding) {
  const Json one = golden_case("olmoe_alias_new_rope_tied");
  const CaseFolder plain(one), both(one);
  Tensors tensors("olmoe_tied");
  const Pack pack = pack_of({{1, 2, 3}});
  const auto logits = [&](const CaseFolder& folder, Execution execution) {
    const auto model = Model::open(folder.path(), execution);
    return model->head(forward(*model, pack));
  };
  tensors.values["lm_head.weight"] = tensors.values["model.embed_tokens.weight"];
  tensors.write(both.path() / "model.safetensors");
  EXPECT_TRUE(near(logits(both, {}), logits(plain, {}), 1e-6));

  tensors.values["lm_head.weight"].second[5] += 1;
  tensors.write(both.path() / "model.safetensors");
  EXPECT_HAS(refusal_of(both), "--head stored");
  EXPECT_TRUE(near(logits(both, {.head = Execution::Head::kTied}), logits(plain, {}), 1e-6));
  EXPECT_FALSE(near(logits(both, {.head = Execution::Head::kStored}), logits(plain, {}), 1e-4));
}

TEST(Loader, AMissingUntiedHeadIsRefused) {
  const CaseFolder folder(golden_case("olmoe_alias_new_rope_tied"), {{"tie_word_embeddings", false}});
  EXPECT_HAS(refusal_of(folder), "missing tensor 'lm_head.weight' [64, 32]");
}

TEST(Loader, AnUnknownFamilyIsToldWhatIsSupported) {
  const CaseFolder folder(golden_case("olmoe_mha"), {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}});
  const std::string text = refusal_of(folder);
  EXPECT_HAS(text, "LlamaForCausalLM");
  EXPECT_HAS(text, "MixtralForCausalLM");
  EXPECT_HAS(text, "config.json");
}

TEST(Loader, TheModelTypeDecidesWhereNoArchitectureIsNamed) {
  const CaseFolder folder(golden_case("olmoe_mha"), Json::object(), {"architectures"});
  EXPECT_EQ(Model::open(folder.path(), {})->spec().model_type, "olmoe");
}

TEST(Loader, SettingsThatWouldChangeTheNumbersAreRefusedByTheirKey) {
  EXPECT_HAS(config_refusal("olmoe_mha", {{"quantization_config", {{"quant_method", "fp8"}}}}), "quantization_config");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"num_experts_per_tok", 5}}), "num_experts_per_tok");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"num_experts_per_tok", 0}}), "num_experts_per_tok");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"hidden_act", "gelu"}}), "hidden_act");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"hidden_act", "gelu"}}), "silu");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"num_key_value_heads", 3}}), "num_key_value_heads");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"head_dim", 16}}), "head_dim");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"clip_qkv", -1.0}}), "clip_qkv");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"rms_norm_eps", -1e-5}}), "rms_norm_eps");
  EXPECT_HAS(config_refusal("olmoe_mha", {{"rope_scaling", {{"type", "mrope"}}}}), "mrope");
  EXPECT_HAS(config_refusal("mixtral_gqa", {{"num_experts", 5}}), "num_experts");  // contradicts num_local_experts
  EXPECT_HAS(config_refusal("mixtral_gqa", {{"sliding_window", 0}}), "sliding_window");
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size", "num_local_experts", "num_experts_per_tok"})
    EXPECT_HAS(config_refusal("mixtral_gqa", Json::object(), {key}), key);
}

TEST(Loader, EquivalentSpellingsGiveTheSameModel) {
  const Pack pack = pack_of({{1, 2, 3, 4, 5}});
  const auto hidden = [&](const Json& changes, const std::vector<std::string>& remove = {}) {
    const CaseFolder folder(golden_case("olmoe_mha"), changes, remove);
    const auto model = Model::open(folder.path(), {});
    return forward(*model, pack);
  };
  const at::Tensor plain = hidden(Json::object());
  EXPECT_TRUE(at::equal(hidden({{"hidden_act", "swish"}}), plain));
  EXPECT_TRUE(at::equal(hidden({{"head_dim", 8}}), plain));
  EXPECT_TRUE(at::equal(hidden({{"head_dim", nullptr}}), plain));
  EXPECT_TRUE(at::equal(hidden({{"clip_qkv", nullptr}, {"rope_scaling", nullptr}}), plain));
  EXPECT_TRUE(at::equal(hidden({{"quantization_config", nullptr}}), plain));
  EXPECT_TRUE(at::equal(hidden(Json::object(), {"rms_norm_eps", "hidden_act", "rope_theta"}), plain));
}

TEST(Loader, TokensOutsideTheVocabularyAreNamed) {
  const CaseFolder folder(golden_case("olmoe_mha"));
  const auto model = Model::open(folder.path(), {});
  EXPECT_HAS(message_of<ModelMismatch>([&] { forward(*model, pack_of({{1, 64}})); }), "64");
  EXPECT_HAS(message_of<ModelMismatch>([&] { forward(*model, pack_of({{-1}})); }), "-1");
}

TEST(Loader, StoredTypesGiveTheSameModelAsTheirExactFloat32Copies) {
  // bf16 values are float32 values; the checkpoint written again in F32 must give the same bytes.
  const Json one = golden_case("olmoe_gqa");
  const CaseFolder stored(one), copy(one);
  Tensors("olmoe_gqa").write(copy.path() / "model.safetensors");
  const Pack pack = pack_of({{5, 6, 7, 8}});
  const auto a = Model::open(stored.path(), {}), b = Model::open(copy.path(), {});
  EXPECT_TRUE(at::equal(forward(*a, pack), forward(*b, pack)));
}

}  // namespace
}  // namespace fare
