// The parts of config.json that all families read alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fare/checkpoint/config_reader.h"
#include "fare/models/decoder_spec.h"

namespace fare {

// Sizes of one attention head, where other keys than head_dim decide them.
struct HeadSizes {
  int64_t query = 0;  // of queries and keys
  int64_t value = 0;
  int64_t rotary = 0;  // the rotated part of query
};

struct CommonDefaults {
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  int64_t max_positions = 4096;
  bool tied_head = false;
  bool kv_heads_may_be_absent = false;  // absent means num_attention_heads, as null does
  bool mxfp4 = false;                   // the family has experts stored as MXFP4
  // Latent attention: the sizes are these and every head has its own key and value; the file's head_dim and
  // num_key_value_heads mean nothing.
  std::optional<HeadSizes> latent_heads;
};

// Sizes, heads, norms, rope, activation, tying. What decides the architecture is required; the rest has the family's
// defaults. `head_dim_key`: whether the family takes a head_dim that is not hidden_size / heads. Refuses unknown
// activations and quantised checkpoints by their key.
DecoderSpec read_common(const ConfigReader& config, const std::string& model_type, const CommonDefaults& defaults,
                        bool head_dim_key);

// Experts per token: 1 to `num_experts`; refused by its key otherwise.
int64_t read_top_k(const ConfigReader& config, const ConfigKey& key, int64_t num_experts);

}  // namespace fare
