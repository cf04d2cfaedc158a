// A small OLMoE-shaped decoder with gradients. Some of its last experts can be left out while the others are trained,
// and trained alone afterwards. Shapes: B sequences, L tokens each, H width, E experts, I expert width, V vocabulary; X
// extra experts.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

#include "fare/lab/hf_layout.h"

namespace fare {

// The MoE block of one layer; gate, up and down with E = 1 where all experts are equal. `extra_*` hold the last X
// experts where the layer has extra ones, else they are undefined.
struct TrainedLayer {
  at::Tensor attention_norm_H, query_HH, key_HH, value_HH, out_HH, query_norm_H, key_norm_H, expert_norm_H;
  at::Tensor router_EH, gate_EIH, up_EIH, down_EHI;
  at::Tensor extra_router_XH, extra_gate_XIH, extra_up_XIH, extra_down_XHI;
};

struct ForwardResult {
  at::Tensor logits_BLV;
  std::vector<at::Tensor> router_BLE;  // per layer; extra experts last, where they take part
  std::vector<at::Tensor> state_BLH;   // per layer: what its router reads
};

// Per layer an expert of every token, int64, -1 = none; an undefined tensor: nowhere.
struct Routes {
  std::vector<at::Tensor> first_BL;   // chosen first; the other places go to the best of the rest
  std::vector<at::Tensor> barred_BL;  // not chosen
};

class TrainedDecoder {
 public:
  // Random weights (Philox, by tensor name). The last `num_extra` experts of the last `extra_layers` layers are extra;
  // all experts of each of the first `equal_layers` layers have the same weights. Attention is uniform: queries are 0
  // and stay so.
  TrainedDecoder(const ModelShape& shape, int64_t num_extra, int64_t extra_layers, int64_t equal_layers, uint64_t seed);

  // ids_BL: int64. `with_extra`: extra experts take part. `routes` decide which experts are chosen, their weights are
  // the router's; empty lists force nothing.
  ForwardResult forward(const at::Tensor& ids_BL, bool with_extra, const Routes& routes = {}) const;

  // Experts of a layer without its extra ones.
  int64_t num_main(int64_t layer) const { return shape_.experts - (layer >= first_extra_layer_ ? num_extra_ : 0); }

  std::vector<at::Tensor> main_parameters() const;
  std::vector<at::Tensor> extra_parameters() const;
  std::vector<at::Tensor> extra_routers() const;  // of the layers that have extra experts, [X, H]

  // model.safetensors and config.json, float32.
  void write(const std::filesystem::path& folder) const;

 private:
  ModelShape shape_;
  int64_t num_extra_, first_extra_layer_;
  at::Tensor embedding_VH, final_norm_H, head_VH;
  std::vector<TrainedLayer> layers_;
};

}  // namespace fare
