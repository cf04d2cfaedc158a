#include "fare/models/gated_mlp.h"

#include "fare/models/experts.h"

namespace fare {

std::vector<TensorSlot> gated_mlp_slots(const std::string& prefix, int64_t width, int64_t hidden, bool bias) {
  std::vector<TensorSlot> slots;
  const auto add = [&](const std::string& name, int64_t out, int64_t in) {
    slots.push_back({prefix + name + ".weight", {out, in}});
    if (bias) slots.push_back({prefix + name + ".bias", {out}});
  };
  add("gate_proj", width, hidden);
  add("up_proj", width, hidden);
  add("down_proj", hidden, width);
  return slots;
}

at::Tensor gated_mlp(const Weights& weights, const std::string& prefix, const at::Tensor& x_TD, MatmulBackend backend,
                     bool bias) {
  const auto matrix = [&](const char* name) { return weights.get(prefix + name + ".weight"); };
  const auto offset = [&](const char* name) { return bias ? weights.get(prefix + name + ".bias") : at::Tensor(); };
  return expert_output(x_TD,
                       {.gate_ID = matrix("gate_proj"),
                        .up_ID = matrix("up_proj"),
                        .down_DI = matrix("down_proj"),
                        .gate_bias_I = offset("gate_proj"),
                        .up_bias_I = offset("up_proj"),
                        .down_bias_D = offset("down_proj")},
                       backend);
}

}  // namespace fare
