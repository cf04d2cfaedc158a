// Everything config.json says about a decoder, normalised over the families.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/models/rope.h"
#include "fare/routing/router_spec.h"

namespace fare {

struct DecoderSpec {
  std::string model_type;
  int64_t vocab_size = 0;   // rows of the embedding and of the head
  int64_t hidden_size = 0;  // D
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;   // of queries and keys
  int64_t value_dim = 0;  // of values; equal to head_dim but for latent attention
  int64_t max_positions = 0;
  double rms_norm_eps = 0;
  double attention_scale = 0;             // multiplies q.k
  double attention_scale_factor = 1;      // so does this; apart because some published readers leave it out
  std::optional<int64_t> sliding_window;  // keys visible per query, itself included; none = all
  std::vector<bool> slides;               // [num_layers] whether the window applies; empty = to every layer
  RopeSpec rope;
  bool attention_bias = false;
  bool head_bias = false;  // lm_head.bias is added to the logits
  std::optional<double> clip_qkv;
  bool tied_head = false;    // the embedding matrix is the head
  int64_t expert_width = 0;  // I
  RouterSpec router;         // the same for every MoE layer
  std::vector<bool> is_moe;  // [num_layers]

  std::optional<int64_t> window(int64_t layer) const {
    return slides.empty() || slides[static_cast<size_t>(layer)] ? sliding_window : std::nullopt;
  }
  std::vector<int64_t> moe_layers() const {
    std::vector<int64_t> layers;
    for (int64_t l = 0; l < num_layers; ++l)
      if (is_moe[static_cast<size_t>(l)]) layers.push_back(l);
    return layers;
  }
};

}  // namespace fare
