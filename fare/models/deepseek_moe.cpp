#include "fare/models/deepseek_moe.h"

#include <algorithm>
#include <iterator>

#include "fare/models/common_config.h"
#include "fare/models/gated_mlp.h"

namespace fare {

DeepseekWidths read_deepseek_moe(const ConfigReader& config, const ConfigKey& experts_key, DecoderSpec& spec) {
  DeepseekWidths widths;
  if (!config.has(experts_key))
    throw config.error(experts_key,
                       "is missing; it decides the architecture and is not guessed (null means no routed experts)");
  const auto num_experts = config.optional_int(experts_key, {}, kPositive);
  const int64_t first = config.int_or("first_k_dense_replace", 0);
  const int64_t every = config.int_or("moe_layer_freq", 1, kPositive);
  for (int64_t l = 0; l < spec.num_layers; ++l) spec.is_moe.push_back(num_experts && l >= first && l % every == 0);
  if (!std::all_of(spec.is_moe.begin(), spec.is_moe.end(), [](bool moe) { return moe; }))
    widths.dense = config.required_int("intermediate_size");
  if (!num_experts) return widths;

  const std::string scoring = config.string_or("scoring_func", "softmax");
  if (scoring != "softmax") throw config.error("scoring_func", "'" + scoring + "' is not supported; accepted: softmax");
  spec.router.num_experts = *num_experts;
  spec.router.top_k = read_top_k(config, "num_experts_per_tok", *num_experts);
  spec.expert_width = config.required_int("moe_intermediate_size");
  widths.shared = config.optional_int("n_shared_experts").value_or(0) * spec.expert_width;
  spec.router.has_shared_expert = widths.shared > 0;
  // One expert is never divided by its own score.
  if (config.bool_or("norm_topk_prob", false) && spec.router.top_k > 1) {
    spec.router.weight_mode = WeightMode::kRenormalised;
    spec.router.sum_epsilon = 1e-20;
  }
  return widths;
}

ExpertWeights DeepseekMoe::expert(int64_t layer, int64_t expert) const {
  return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
}

at::Tensor DeepseekMoe::shared_output(int64_t layer, const at::Tensor& x_TD) const {
  return widths_.shared == 0 ? at::Tensor()
                             : gated_mlp(weights_, layer_prefix(layer) + "mlp.shared_experts.", x_TD, backend_);
}

at::Tensor DeepseekMoe::dense_output(int64_t layer, const at::Tensor& x_TD) const {
  return gated_mlp(weights_, layer_prefix(layer) + "mlp.", x_TD, backend_);
}

std::vector<TensorSlot> DeepseekMoe::feed_forward_tensors() const {
  const int64_t d = spec_.hidden_size;
  std::vector<TensorSlot> slots;
  const auto add = [&](std::vector<TensorSlot> more) {
    std::move(more.begin(), more.end(), std::back_inserter(slots));
  };
  for (int64_t l = 0; l < spec_.num_layers; ++l) {
    if (!spec_.is_moe[static_cast<size_t>(l)]) {
      add(gated_mlp_slots(layer_prefix(l) + "mlp.", widths_.dense, d));
      continue;
    }
    slots.push_back({gate(l) + ".weight", {spec_.router.num_experts, d}});
    add(experts(l).slots(weights_, spec_.router.num_experts, spec_.expert_width, d));
    if (widths_.shared > 0) add(gated_mlp_slots(layer_prefix(l) + "mlp.shared_experts.", widths_.shared, d));
  }
  return slots;
}

}  // namespace fare
