#include "fare/models/expert_tensors.h"

namespace fare {

std::vector<TensorSlot> ExpertTensors::slots(const Weights& weights, int64_t num_experts, int64_t width,
                                             int64_t hidden) const {
  if (is_fused(weights))
    return {{gate_up_name(), {num_experts, 2 * width, hidden}}, {down_name(), {num_experts, hidden, width}}};
  std::vector<TensorSlot> slots;
  for (int64_t e = 0; e < num_experts; ++e) {
    const auto add = [&](const std::string& name, int64_t out, int64_t in) {
      slots.push_back({name + ".weight", {out, in}});
      if (has_bias(weights, name)) slots.push_back({name + ".bias", {out}});
    };
    const std::string one = prefix + std::to_string(e) + ".";
    add(one + gate, width, hidden);
    add(one + up, width, hidden);
    add(one + down, hidden, width);
  }
  return slots;
}

ExpertWeights ExpertTensors::read(const Weights& weights, int64_t expert, int64_t width, int64_t hidden) const {
  ExpertWeights out;
  if (is_fused(weights)) {
    out.gate_ID = weights.get_slice(gate_up_name(), expert, 0, width);
    out.up_ID = weights.get_slice(gate_up_name(), expert, width, width);
    out.down_DI = weights.get_slice(down_name(), expert, 0, hidden);
    return out;
  }
  const auto bias = [&](const std::string& name) {
    return has_bias(weights, name) ? weights.get(name + ".bias") : at::Tensor();
  };
  const std::string one = prefix + std::to_string(expert) + ".";
  out.gate_ID = weights.get(one + gate + ".weight");
  out.up_ID = weights.get(one + up + ".weight");
  out.down_DI = weights.get(one + down + ".weight");
  out.gate_bias_I = bias(one + gate);
  out.up_bias_I = bias(one + up);
  out.down_bias_D = bias(one + down);
  return out;
}

}  // namespace fare
