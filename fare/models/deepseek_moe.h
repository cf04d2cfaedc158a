// The feed-forward half of a block, which DeepSeek V1 and V2 share: dense layers, routed experts, and shared experts
// that are one ungated MLP on the same input, added to the routed sum.
#pragma once

#include <string>
#include <vector>

#include "fare/checkpoint/config_reader.h"
#include "fare/models/expert_tensors.h"
#include "fare/models/family.h"

namespace fare {

struct DeepseekWidths {
  int64_t dense = 0;   // of a dense layer's MLP; 0 = every layer is MoE
  int64_t shared = 0;  // n_shared_experts * moe_intermediate_size; 0 = none
};

// Fills spec.is_moe, spec.expert_width and, of spec.router, the number of experts, top k and weight mode. Layer i is
// MoE iff `experts_key` (required) is not null, i >= first_k_dense_replace and i is a multiple of moe_layer_freq.
DeepseekWidths read_deepseek_moe(const ConfigReader& config, const ConfigKey& experts_key, DecoderSpec& spec);

class DeepseekMoe : public Family {
 public:
  DeepseekMoe(DecoderSpec spec, DeepseekWidths widths, const Weights& weights, MatmulBackend backend)
      : Family(std::move(spec), weights, backend), widths_(widths) {}

  ExpertWeights expert(int64_t layer, int64_t expert) const override;
  at::Tensor shared_output(int64_t layer, const at::Tensor& x_TD) const override;
  at::Tensor dense_output(int64_t layer, const at::Tensor& x_TD) const override;

 protected:
  // Router, experts, shared experts and dense MLPs of all layers.
  std::vector<TensorSlot> feed_forward_tensors() const;
  std::string gate(int64_t layer) const { return layer_prefix(layer) + "mlp.gate"; }

 private:
  ExpertTensors experts(int64_t layer) const { return {.prefix = layer_prefix(layer) + "mlp.experts."}; }

  DeepseekWidths widths_;
};

}  // namespace fare
