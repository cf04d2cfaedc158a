#include "fare/models/qwen_moe.h"

#include <algorithm>

#include "fare/models/common_config.h"
#include "fare/models/gated_mlp.h"

namespace fare {

int64_t read_qwen_moe(const ConfigReader& config, const ConfigKey& experts_key, DecoderSpec& spec) {
  const int64_t num_experts = config.required_int(experts_key, kNonNegative);
  const int64_t step = config.int_or("decoder_sparse_step", 1, kPositive);
  const std::vector<int64_t> dense = config.optional_ints("mlp_only_layers").value_or(std::vector<int64_t>());
  for (int64_t l = 0; l < spec.num_layers; ++l)
    spec.is_moe.push_back(num_experts > 0 && (l + 1) % step == 0 &&
                          std::find(dense.begin(), dense.end(), l) == dense.end());

  const auto num_moe = std::count(spec.is_moe.begin(), spec.is_moe.end(), true);
  if (num_moe > 0) {
    spec.router.num_experts = num_experts;
    spec.router.top_k = read_top_k(config, "num_experts_per_tok", num_experts);
    spec.router.weight_mode = config.bool_or("norm_topk_prob", false) ? WeightMode::kRenormalised : WeightMode::kRaw;
    spec.expert_width = config.required_int("moe_intermediate_size");
  }
  return num_moe == spec.num_layers ? 0 : config.required_int("intermediate_size");
}

std::vector<TensorSlot> QwenMoe::tensors() const {
  std::vector<TensorSlot> slots = common_tensors();
  const auto add = [&](std::vector<TensorSlot> more) {
    for (TensorSlot& slot : more) slots.push_back(std::move(slot));
  };
  for (int64_t l = 0; l < spec_.num_layers; ++l) {
    add(own_tensors(l));
    if (!spec_.is_moe[static_cast<size_t>(l)]) {
      add(gated_mlp_slots(mlp(l), dense_width_, spec_.hidden_size));
      continue;
    }
    slots.push_back({mlp(l) + "gate.weight", {spec_.router.num_experts, spec_.hidden_size}});
    add(experts(l).slots(weights_, spec_.router.num_experts, spec_.expert_width, spec_.hidden_size));
  }
  return slots;
}

at::Tensor QwenMoe::router_logits(int64_t layer, const at::Tensor& x_TD) const {
  return project_linear(x_TD, mlp(layer) + "gate", false).to(at::kFloat);
}

ExpertWeights QwenMoe::expert(int64_t layer, int64_t expert) const {
  return experts(layer).read(weights_, expert, spec_.expert_width, spec_.hidden_size);
}

at::Tensor QwenMoe::dense_output(int64_t layer, const at::Tensor& x_TD) const {
  return gated_mlp(weights_, mlp(layer), x_TD, backend_);
}

}  // namespace fare
