// DeepSeekMoE V1 (DeepseekForCausalLM). Attention: plain, half-split rope, optional biases on all four projections.
// Router: softmax over all experts, top k, divided by their sum (+ 1e-20) iff norm_topk_prob and k > 1; no further
// factor. First layers dense; ungated shared experts.
#include "fare/models/families.h"

#include "fare/models/common_config.h"
#include "fare/models/deepseek_moe.h"

namespace fare {
namespace {

// The published reader knows one form of scaling only: a type and a factor above 1.
void check_rope(const ConfigReader& config, const RopeSpec& rope) {
  const std::string key = config.optional_object("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const auto object = config.optional_object(key);
  if (!object) return;
  const ConfigKey type{"rope_type", "type"};
  if (!object->has(type) && object->has("factor")) throw object->error(type, "is missing; accepted: linear, dynamic");
  if (rope.type == RopeSpec::Type::kDefault) return;
  if (rope.type != RopeSpec::Type::kLinear && rope.type != RopeSpec::Type::kDynamic)
    throw object->error(
        type, "'" + object->string_or(type, "") + "' is not supported in this family; accepted: linear, dynamic");
  if (!(rope.factor > 1))
    throw object->error("factor", "must be a number above 1, found " + std::to_string(rope.factor));
  for (const char* other :
       {"original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"})
    if (object->has(other))
      throw object->error(other, "is not part of linear or dynamic rope; accepted: a type and a factor");
}

DeepseekWidths read_widths(const ConfigReader& config, DecoderSpec& spec) {
  spec = read_common(config, "deepseek", {.rms_norm_eps = 1e-6, .rope_theta = 10000, .max_positions = 2048}, false);
  spec.attention_bias = config.bool_or("attention_bias", false);
  check_rope(config, spec.rope);
  return read_deepseek_moe(config, "n_routed_experts", spec);
}

class Deepseek final : public DeepseekMoe {
 public:
  using DeepseekMoe::DeepseekMoe;

  std::vector<TensorSlot> tensors() const override {
    std::vector<TensorSlot> slots = common_tensors();
    for (auto& slot : feed_forward_tensors()) slots.push_back(std::move(slot));
    return slots;
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, layer_prefix(layer) + "self_attn." + name, spec_.attention_bias)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    return {rotate(part("q_proj", spec_.num_heads), rotary), rotate(part("k_proj", spec_.num_kv_heads), rotary),
            part("v_proj", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return project_linear(x_TD, gate(layer), false).to(at::kFloat);
  }
};

}  // namespace

std::unique_ptr<Family> make_deepseek(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  DecoderSpec spec;
  const DeepseekWidths widths = read_widths(config, spec);
  return std::make_unique<Deepseek>(std::move(spec), widths, weights, backend);
}

}  // namespace fare
