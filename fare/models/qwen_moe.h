// The feed-forward half of a block, which Qwen2-MoE and Qwen3-MoE share: a gated MLP in dense layers, routed experts in
// the others. Router: softmax over all experts in float32, top k, divided by their sum iff norm_topk_prob.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/checkpoint/config_reader.h"
#include "fare/models/expert_tensors.h"
#include "fare/models/family.h"

namespace fare {

// Fills spec.is_moe, spec.expert_width and spec.router. Layer i is MoE iff it is not in mlp_only_layers, there are
// experts (0 makes a dense model) and i + 1 is a multiple of decoder_sparse_step. Returns the width of the dense
// layers' MLP, 0 when every layer is MoE.
int64_t read_qwen_moe(const ConfigReader& config, const ConfigKey& experts_key, DecoderSpec& spec);

class QwenMoe : public Family {
 public:
  QwenMoe(DecoderSpec spec, int64_t dense_width, const Weights& weights, MatmulBackend backend)
      : Family(std::move(spec), weights, backend), dense_width_(dense_width) {}

  std::vector<TensorSlot> tensors() const override;
  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override;
  ExpertWeights expert(int64_t layer, int64_t expert) const override;
  at::Tensor dense_output(int64_t layer, const at::Tensor& x_TD) const override;

 protected:
  // What one layer has beside the common set, router, experts and dense MLP.
  virtual std::vector<TensorSlot> own_tensors(int64_t layer) const = 0;
  std::string mlp(int64_t layer) const { return layer_prefix(layer) + "mlp."; }

 private:
  ExpertTensors experts(int64_t layer) const { return {.prefix = mlp(layer) + "experts."}; }

  int64_t dense_width_;
};

}  // namespace fare
