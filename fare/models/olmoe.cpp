// OLMoE (OlmoeForCausalLM). Attention: project, RMSNorm over the whole q and the whole k, optional clamp of q, k and v,
// then half-split rope. Router: softmax over all experts in float32, top k, divided by their sum iff norm_topk_prob.
// Every layer is MoE; the expert width is `intermediate_size`.
#include "fare/models/families.h"

#include "fare/models/common_config.h"
#include "fare/models/expert_tensors.h"

namespace fare {
namespace {

DecoderSpec read_spec(const ConfigReader& config) {
  DecoderSpec spec = read_common(
      config, "olmoe",
      {.rms_norm_eps = 1e-5, .rope_theta = 10000, .max_positions = 4096, .kv_heads_may_be_absent = true}, false);
  spec.attention_bias = config.bool_or("attention_bias", false);
  spec.clip_qkv = config.optional_number("clip_qkv");
  if (spec.clip_qkv && !(*spec.clip_qkv > 0)) throw config.error("clip_qkv", "must be a positive number or null");
  spec.expert_width = config.required_int("intermediate_size");
  spec.router.num_experts = config.required_int({"num_experts", "num_local_experts"});
  spec.router.top_k = read_top_k(config, "num_experts_per_tok", spec.router.num_experts);
  spec.router.weight_mode = config.bool_or("norm_topk_prob", false) ? WeightMode::kRenormalised : WeightMode::kRaw;
  spec.is_moe.assign(static_cast<size_t>(spec.num_layers), true);
  return spec;
}

class Olmoe final : public Family {
 public:
  using Family::Family;

  std::vector<TensorSlot> tensors() const override {
    std::vector<TensorSlot> slots = common_tensors();
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      slots.push_back({layer_prefix(l) + "self_attn.q_norm.weight", {spec_.num_heads * spec_.head_dim}});
      slots.push_back({layer_prefix(l) + "self_attn.k_norm.weight", {spec_.num_kv_heads * spec_.head_dim}});
      slots.push_back({layer_prefix(l) + "mlp.gate.weight", {spec_.router.num_experts, spec_.hidden_size}});
      for (auto& slot : experts(l).slots(weights_, spec_.router.num_experts, spec_.expert_width, spec_.hidden_size))
        slots.push_back(std::move(slot));
    }
    return slots;
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const std::string attention = layer_prefix(layer) + "self_attn.";
    const auto part = [&](const std::string& name, int64_t heads, bool normed) {
      at::Tensor y = project_linear(x_TD, attention + name + "_proj", spec_.attention_bias).to(at::kFloat);
      if (normed) y = rms_norm(y, weights_.get_float(attention + name + "_norm.weight"), spec_.rms_norm_eps);
      if (spec_.clip_qkv) y = y.clamp(-*spec_.clip_qkv, *spec_.clip_qkv);
      return y.view({x_TD.size(0), heads, spec_.head_dim});
    };
    return {rotate(part("q", spec_.num_heads, true), rotary), rotate(part("k", spec_.num_kv_heads, true), rotary),
            part("v", spec_.num_kv_heads, false)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return project_linear(x_TD, layer_prefix(layer) + "mlp.gate", false).to(at::kFloat);
  }

  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
  }

 private:
  ExpertTensors experts(int64_t layer) const { return {.prefix = layer_prefix(layer) + "mlp.experts."}; }
};

}  // namespace

std::unique_ptr<Family> make_olmoe(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<Olmoe>(read_spec(config), weights, backend);
}

}  // namespace fare
