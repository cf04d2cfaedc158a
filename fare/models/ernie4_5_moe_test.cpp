// What is ERNIE-4.5's own beside its goldens: settings, the switch for the correction bias, biases of single experts.
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

std::string config_refusal(const Json& changes) {
  const CaseFolder folder(golden_case("ernie4_5_moe_gqa"), changes);
  return message_of<FormatError>([&] { Model::open(folder.path(), {}); });
}

at::Tensor logits_of(const std::filesystem::path& folder, Execution execution = {}) {
  const auto model = Model::open(folder, execution);
  return model->head(forward(*model, pack_of({{3, 1, 41, 5, 9, 26, 7}}, false)));
}

TEST(Ernie, SettingsThatWouldChangeTheNumbersAreRefusedByTheirKey) {
  EXPECT_HAS(config_refusal({{"moe_gate_act", "sigmoid"}}),
             "moe_gate_act: 'sigmoid' is not supported; accepted: softmax");
  EXPECT_HAS(config_refusal({{"moe_layer_interval", 0}}), "moe_layer_interval");
  EXPECT_HAS(config_refusal({{"moe_layer_start_index", nullptr}}), "moe_layer_start_index");
  EXPECT_HAS(config_refusal({{"moe_layer_start_index", Json::array()}}), "moe_layer_start_index");
  EXPECT_HAS(config_refusal({{"moe_layer_end_index", -2}}), "moe_layer_end_index");
  EXPECT_HAS(config_refusal({{"moe_k", 5}}), "moe_k");
  EXPECT_HAS(config_refusal({{"moe_num_experts", 4}, {"num_experts", 8}}), "moe_num_experts");
  EXPECT_HAS(config_refusal({{"moe_norm_min", -1.0}}), "moe_norm_min");
  EXPECT_HAS(config_refusal({{"quantization_config", {{"quant_method", "fp8"}}}}), "quant_method 'fp8'");
}

TEST(Ernie, TheCorrectionBiasCanBeSwitchedOff) {
  const CaseFolder folder(golden_case("ernie4_5_moe_correction_decides"));
  Execution without;
  without.correction_bias = false;
  const auto model = Model::open(folder.path(), {}), plain = Model::open(folder.path(), without);
  EXPECT_EQ(model->router(1).selection_bias.size(), 6u);
  EXPECT_NE(model->router(1).selection_bias, model->router(2).selection_bias);  // each layer its own
  EXPECT_TRUE(plain->router(1).selection_bias.empty());
  EXPECT_EQ(plain->router(1).top_k, model->router(1).top_k);
  EXPECT_FALSE(near(logits_of(folder.path(), without), logits_of(folder.path()), 1e-2));
}

// A float32 tensor as one of a file; `tensor` must be contiguous and outlive it.
TensorData stored(const std::string& name, const at::Tensor& tensor) {
  return {name,
          Dtype::kF32,
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

TEST(Ernie, ABiasBesideAnExpertsMatrixIsUsed) {
  const Json one = golden_case("ernie4_5_moe_gqa");
  const CaseFolder source(one), target(one);
  const std::string expert = "model.layers.1.mlp.experts.2.";
  at::manual_seed(3);
  const at::Tensor gate = at::randn({24}), down = at::randn({32});
  rewrite_tensors(target.path(), [&](std::vector<TensorData>& tensors) {
    tensors.push_back(stored(expert + "gate_proj.bias", gate));
    tensors.push_back(stored(expert + "down_proj.bias", down));
  });
  const auto before = Model::open(source.path(), {}), after = Model::open(target.path(), {});
  const at::Tensor x = at::randn({3, 32});
  ExpertWeights weights = before->family().expert(1, 2);
  weights.gate_bias_I = gate;
  weights.down_bias_D = down;
  EXPECT_TRUE(at::equal(expert_output(x, after->family().expert(1, 2), MatmulBackend::kMkl),
                        expert_output(x, weights, MatmulBackend::kMkl)));
  EXPECT_FALSE(after->family().expert(1, 1).gate_bias_I.defined());
  EXPECT_FALSE(near(logits_of(target.path()), logits_of(source.path()), 1e-3));
}

TEST(Ernie, TensorsOfAnotherShapeOrPlaceAreNamed) {
  const CaseFolder target(golden_case("ernie4_5_moe_no_correction"));
  const at::Tensor zeros = at::zeros({48});
  rewrite_tensors(target.path(), [&](std::vector<TensorData>& tensors) {
    const auto add = [&](const std::string& name, int64_t size) {
      tensors.push_back(stored(name, zeros.narrow(0, 0, size)));
    };
    add("model.layers.1.mlp.moe_statics.e_score_correction_bias", 4);  // not [1, 4]
    add("model.layers.1.mlp.experts.0.up_proj.bias", 23);
    add("model.layers.1.mlp.shared_experts.up_proj.bias", 48);  // without use_bias
    add("model.mtp_block.0.norm.weight", 5);
  });
  const std::string text = message_of<ModelMismatch>([&] { Model::open(target.path(), {}); });
  EXPECT_HAS(text, "e_score_correction_bias' has shape [4], expected [1, 4]");
  EXPECT_HAS(text, "experts.0.up_proj.bias' has shape [23], expected [24]");
  EXPECT_HAS(text, "unexpected tensor 'model.layers.1.mlp.shared_experts.up_proj.bias'");
  EXPECT_EQ(text.find("mtp"), std::string::npos);
  EXPECT_EQ(text.find("missing"), std::string::npos);
}

}  // namespace
}  // namespace fare
