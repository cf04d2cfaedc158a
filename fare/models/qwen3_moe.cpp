// Qwen3-MoE (Qwen3MoeForCausalLM). Attention: project (all four with biases iff attention_bias), RMSNorm of every head
// of q and k with one weight [d], half-split rope; a sliding window on all layers iff use_sliding_window. No shared
// expert.
#include "fare/models/common_config.h"
#include "fare/models/families.h"
#include "fare/models/qwen_moe.h"

namespace fare {
namespace {

class Qwen3Moe final : public QwenMoe {
 public:
  using QwenMoe::QwenMoe;

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const std::string attention = layer_prefix(layer) + "self_attn.";
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, attention + name + "_proj", spec_.attention_bias)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    const auto normed = [&](const std::string& name, int64_t heads) {
      return rms_norm(part(name, heads), weights_.get_float(attention + name + "_norm.weight"), spec_.rms_norm_eps);
    };
    return {rotate(normed("q", spec_.num_heads), rotary), rotate(normed("k", spec_.num_kv_heads), rotary),
            part("v", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

 private:
  std::vector<TensorSlot> own_tensors(int64_t layer) const override {
    const std::string attention = layer_prefix(layer) + "self_attn.";
    return {{attention + "q_norm.weight", {spec_.head_dim}}, {attention + "k_norm.weight", {spec_.head_dim}}};
  }
};

}  // namespace

std::unique_ptr<Family> make_qwen3_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  DecoderSpec spec =
      read_common(config, "qwen3_moe", {.rms_norm_eps = 1e-6, .rope_theta = 10000, .max_positions = 32768}, true);
  spec.attention_bias = config.bool_or("attention_bias", false);
  if (config.bool_or("use_sliding_window", false))
    spec.sliding_window = config.optional_int("sliding_window", 4096, kPositive);
  config.ignore({"sliding_window", "max_window_layers"});
  const int64_t dense_width = read_qwen_moe(config, {"num_experts", "num_local_experts"}, spec);
  return std::make_unique<Qwen3Moe>(std::move(spec), dense_width, weights, backend);
}

}  // namespace fare
