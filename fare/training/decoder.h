// A small OLMoE-shaped decoder with gradients. Some of its last experts can be left out while the others are trained, and
// trained alone afterwards.
// Shapes: B sequences, L tokens each, H width, E experts, I expert width, V vocabulary; X extra experts.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

#include "fare/lab/hf_layout.h"

namespace fare {

// The MoE block of one layer. `extra_*` hold the last X experts where the layer has extra ones, else they are undefined.
struct TrainedLayer {
  at::Tensor attention_norm_H, query_HH, key_HH, value_HH, out_HH, query_norm_H, key_norm_H, expert_norm_H;
  at::Tensor router_EH, gate_EIH, up_EIH, down_EHI;
  at::Tensor extra_router_XH, extra_gate_XIH, extra_up_XIH, extra_down_XHI;
};

struct ForwardResult {
  at::Tensor logits_BLV;
  std::vector<at::Tensor> router_BLE;  // per layer; extra experts last, where they take part
  at::Tensor balance;                  // mean over layers of E sum_e (share of choices) (mean score): 1 when even
};

class TrainedDecoder {
 public:
  // Random weights (Philox, by tensor name). The last `num_extra` experts of the last `extra_layers` layers are extra.
  // `uniform_attention`: queries are 0 and stay so.
  TrainedDecoder(const ModelShape& shape, int64_t num_extra, int64_t extra_layers, uint64_t seed, bool uniform_attention = false);

  // ids_BL: int64. `with_extra`: extra experts take part. `targets_BL`: expert forced as first choice at each token, -1 = none
  // (undefined tensor: nowhere); the other places go to the best of the rest.
  ForwardResult forward(const at::Tensor& ids_BL, bool with_extra, const at::Tensor& targets_BL = {}) const;

  std::vector<at::Tensor> main_parameters() const;
  std::vector<at::Tensor> extra_parameters() const;

  // model.safetensors and config.json, float32.
  void write(const std::filesystem::path& folder) const;

 private:
  ModelShape shape_;
  int64_t num_extra_, first_extra_layer_;
  at::Tensor embedding_VH, final_norm_H, head_VH;
  std::vector<TrainedLayer> layers_;
};

}  // namespace fare
