// Mixtral (MixtralForCausalLM). Attention: no bias, no q/k norm, half-split rope, optional sliding window on every
// layer. Router: softmax over all experts in float32, top k, always divided by their sum. Experts: w1 gate, w3 up, w2
// down.
#include "fare/models/families.h"

#include "fare/models/common_config.h"
#include "fare/models/expert_tensors.h"

namespace fare {
namespace {

DecoderSpec read_spec(const ConfigReader& config) {
  DecoderSpec spec =
      read_common(config, "mixtral", {.rms_norm_eps = 1e-5, .rope_theta = 1e6, .max_positions = 131072}, true);
  spec.sliding_window = config.optional_int("sliding_window", {}, kPositive);
  spec.expert_width = config.required_int("intermediate_size");
  spec.router.num_experts = config.required_int({"num_local_experts", "num_experts"});
  spec.router.top_k = read_top_k(config, "num_experts_per_tok", spec.router.num_experts);
  spec.router.weight_mode = WeightMode::kRenormalised;
  spec.is_moe.assign(static_cast<size_t>(spec.num_layers), true);
  return spec;
}

class Mixtral final : public Family {
 public:
  using Family::Family;

  std::vector<TensorSlot> tensors() const override {
    std::vector<TensorSlot> slots = common_tensors();
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      slots.push_back({gate(l) + ".weight", {spec_.router.num_experts, spec_.hidden_size}});
      for (auto& slot : experts(l).slots(weights_, spec_.router.num_experts, spec_.expert_width, spec_.hidden_size))
        slots.push_back(std::move(slot));
    }
    return slots;
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, layer_prefix(layer) + "self_attn." + name, false)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    return {rotate(part("q_proj", spec_.num_heads), rotary), rotate(part("k_proj", spec_.num_kv_heads), rotary),
            part("v_proj", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", false);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return project_linear(x_TD, gate(layer), false).to(at::kFloat);
  }

  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
  }

 private:
  // The fused layout renames the block from block_sparse_moe to mlp.
  ExpertTensors experts(int64_t layer) const {
    return {.prefix = layer_prefix(layer) + "block_sparse_moe.experts.",
            .gate = "w1",
            .up = "w3",
            .down = "w2",
            .fused_prefix = layer_prefix(layer) + "mlp.experts."};
  }
  std::string gate(int64_t layer) const {
    return layer_prefix(layer) + (experts(layer).is_fused(weights_) ? "mlp.gate" : "block_sparse_moe.gate");
  }
};

}  // namespace

std::unique_ptr<Family> make_mixtral(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<Mixtral>(read_spec(config), weights, backend);
}

}  // namespace fare
