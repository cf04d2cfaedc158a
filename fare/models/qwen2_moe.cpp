// Qwen1.5-MoE and Qwen2-MoE (Qwen2MoeForCausalLM). Attention: biases on q, k and v (qkv_bias, true when absent), never
// on o; half-split rope; full attention. One shared expert, scaled per token by sigmoid(x . shared_expert_gate).
#include "fare/models/common_config.h"
#include "fare/models/families.h"
#include "fare/models/gated_mlp.h"
#include "fare/models/qwen_moe.h"

namespace fare {
namespace {

struct Settings {
  DecoderSpec spec;
  int64_t dense_width = 0;
  int64_t shared_width = 0;
  bool qkv_bias = true;
};

// Releases of the reference read use_sliding_window in different ways; no published checkpoint uses it.
void refuse_windows(const ConfigReader& config) {
  if (config.bool_or("use_sliding_window", false))
    throw config.error("use_sliding_window",
                       "true has had several meanings and is not supported; accepted: false or absent");
  if (const auto types = config.optional_strings("layer_types"))
    for (const std::string& type : *types)
      if (type != "full_attention")
        throw config.error("layer_types", "'" + type + "' is not supported in this family; accepted: full_attention");
  config.ignore({"sliding_window", "max_window_layers"});
}

Settings read_settings(const ConfigReader& config) {
  Settings settings;
  settings.spec =
      read_common(config, "qwen2_moe", {.rms_norm_eps = 1e-6, .rope_theta = 10000, .max_positions = 32768}, true);
  refuse_windows(config);
  settings.qkv_bias = config.bool_or("qkv_bias", true);
  settings.dense_width = read_qwen_moe(config, "num_experts", settings.spec);
  settings.spec.router.has_shared_expert = !settings.spec.moe_layers().empty();
  if (settings.spec.router.has_shared_expert)
    settings.shared_width = config.required_int("shared_expert_intermediate_size");
  return settings;
}

class Qwen2Moe final : public QwenMoe {
 public:
  Qwen2Moe(Settings settings, const Weights& weights, MatmulBackend backend)
      : QwenMoe(std::move(settings.spec), settings.dense_width, weights, backend),
        shared_width_(settings.shared_width),
        qkv_bias_(settings.qkv_bias) {}

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, layer_prefix(layer) + "self_attn." + name, qkv_bias_)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    return {rotate(part("q_proj", spec_.num_heads), rotary), rotate(part("k_proj", spec_.num_kv_heads), rotary),
            part("v_proj", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", false);
  }

  at::Tensor shared_output(int64_t layer, const at::Tensor& x_TD) const override {
    const at::Tensor gate = project_linear(x_TD, mlp(layer) + "shared_expert_gate", false).to(at::kFloat).sigmoid();
    return gated_mlp(weights_, mlp(layer) + "shared_expert.", x_TD, backend_).to(at::kFloat) * gate;
  }

 private:
  std::vector<TensorSlot> own_tensors(int64_t layer) const override {
    std::vector<TensorSlot> slots;
    if (qkv_bias_)
      for (const auto& [name, heads] :
           {std::pair{"q_proj", spec_.num_heads}, {"k_proj", spec_.num_kv_heads}, {"v_proj", spec_.num_kv_heads}})
        slots.push_back({layer_prefix(layer) + "self_attn." + name + ".bias", {heads * spec_.head_dim}});
    if (!spec_.is_moe[static_cast<size_t>(layer)]) return slots;
    for (auto& slot : gated_mlp_slots(mlp(layer) + "shared_expert.", shared_width_, spec_.hidden_size))
      slots.push_back(std::move(slot));
    slots.push_back({mlp(layer) + "shared_expert_gate.weight", {1, spec_.hidden_size}});
    return slots;
  }

  int64_t shared_width_;
  bool qkv_bias_;
};

}  // namespace

std::unique_ptr<Family> make_qwen2_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<Qwen2Moe>(read_settings(config), weights, backend);
}

}  // namespace fare
