// HunYuan-MoE V1 (HunYuanMoEV1ForCausalLM). Attention: half-split rope, then RMSNorm over each head of q and k. Router:
// float32, softmax over all experts, top k, always divided by their sum. Experts and one ungated shared MLP have the
// width `intermediate_size`; every layer is MoE. Rope of type dynamic with an `alpha` only enlarges the base.
#include "fare/models/families.h"

#include <algorithm>
#include <cmath>

#include "fare/models/common_config.h"
#include "fare/models/expert_tensors.h"
#include "fare/models/gated_mlp.h"

namespace fare {
namespace {

// theta * alpha^(d / (d - 2)), the same at every length.
void read_alpha(const ConfigReader& config, RopeSpec& rope) {
  auto scaling = config.optional_object("rope_parameters");
  if (!scaling) scaling = config.optional_object("rope_scaling");
  if (!scaling || rope.type != RopeSpec::Type::kDynamic) return;
  const double alpha = scaling->optional_number("alpha").value_or(0);
  if (alpha == 0) return;
  if (alpha < 0) throw scaling->error("alpha", "must be a positive number");
  rope.type = RopeSpec::Type::kDefault;
  rope.theta *= std::pow(alpha, static_cast<double>(rope.dim) / static_cast<double>(rope.dim - 2));
}

DecoderSpec read_spec(const ConfigReader& config) {
  DecoderSpec spec = read_common(
      config, "hunyuan_v1_moe",
      {.rms_norm_eps = 1e-5, .rope_theta = 10000, .max_positions = 2048, .kv_heads_may_be_absent = true}, true);
  read_alpha(config, spec.rope);
  if (config.bool_or("use_cla", false)) throw config.error("use_cla", "true is not supported; accepted: false");
  spec.attention_bias = config.bool_or("attention_bias", false);
  spec.expert_width = config.required_int("intermediate_size");
  spec.router.num_experts = config.required_int({"num_experts", "num_local_experts"});
  const ConfigKey k_key{"moe_topk", "num_experts_per_tok"};
  const std::vector<int64_t> k_of_layer = config.int_or_list(k_key, {1, spec.router.num_experts});
  if (k_of_layer.empty()) throw config.error(k_key, "is missing; it decides the architecture and is not guessed");
  spec.router.top_k = k_of_layer.front();
  if (std::any_of(k_of_layer.begin(), k_of_layer.end(), [&](int64_t k) { return k != spec.router.top_k; }))
    throw config.error(k_key,
                       "differs between layers, which is not supported; accepted: one number, or a list of equal ones");
  spec.router.weight_mode = WeightMode::kRenormalised;
  spec.router.has_shared_expert = true;
  spec.is_moe.assign(static_cast<size_t>(spec.num_layers), true);
  return spec;
}

class Hunyuan final : public Family {
 public:
  using Family::Family;

  std::vector<TensorSlot> tensors() const override {
    const int64_t d = spec_.hidden_size;
    std::vector<TensorSlot> slots = common_tensors();
    const auto add = [&](std::vector<TensorSlot> more) {
      for (TensorSlot& slot : more) slots.push_back(std::move(slot));
    };
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      add({{layer_prefix(l) + "self_attn.query_layernorm.weight", {spec_.head_dim}},
           {layer_prefix(l) + "self_attn.key_layernorm.weight", {spec_.head_dim}},
           {mlp(l) + "gate.wg.weight", {spec_.router.num_experts, d}}});
      add(experts(l).slots(weights_, spec_.router.num_experts, spec_.expert_width, d));
      add(gated_mlp_slots(mlp(l) + "shared_mlp.", spec_.expert_width, d));
    }
    return slots;
  }

  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    const std::string attention = layer_prefix(layer) + "self_attn.";
    const auto part = [&](const std::string& name, int64_t heads) {
      return project_linear(x_TD, attention + name, spec_.attention_bias)
          .to(at::kFloat)
          .view({x_TD.size(0), heads, spec_.head_dim});
    };
    const auto turned = [&](const at::Tensor& x_TNd, const std::string& norm) {
      return rms_norm(rotate(x_TNd, rotary), weights_.get_float(attention + norm + ".weight"), spec_.rms_norm_eps);
    };
    return {turned(part("q_proj", spec_.num_heads), "query_layernorm"),
            turned(part("k_proj", spec_.num_kv_heads), "key_layernorm"), part("v_proj", spec_.num_kv_heads)};
  }

  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return project_linear(heads_TX, layer_prefix(layer) + "self_attn.o_proj", spec_.attention_bias);
  }

  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    return linear(x_TD.to(at::kFloat), weights_.get_float(mlp(layer) + "gate.wg.weight"), {}, backend_);
  }

  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
  }

  at::Tensor shared_output(int64_t layer, const at::Tensor& x_TD) const override {
    return gated_mlp(weights_, mlp(layer) + "shared_mlp.", x_TD, backend_);
  }

 private:
  std::string mlp(int64_t layer) const { return layer_prefix(layer) + "mlp."; }
  ExpertTensors experts(int64_t layer) const { return {.prefix = mlp(layer) + "experts."}; }
};

}  // namespace

std::unique_ptr<Family> make_hunyuan_v1_moe(const ConfigReader& config, const Weights& weights, MatmulBackend backend) {
  return std::make_unique<Hunyuan>(read_spec(config), weights, backend);
}

}  // namespace fare
