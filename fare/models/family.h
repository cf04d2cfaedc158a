// What one model family supplies: its reading of config.json, its tensors, and the parts of a block that differ.
// The loop over layers, packing, attention over keys, routing and expert products are the engine's (forward.h).
// Shapes: T rows, D width, N query heads, G key-value heads, d and v head dimensions, E experts, I expert width.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "fare/models/decoder_spec.h"
#include "fare/models/experts.h"
#include "fare/models/rope.h"
#include "fare/models/weights.h"

namespace fare {

struct Projected {  // float32, rotated where the family rotates
  at::Tensor q_TNd, k_TGd, v_TGv;
};

class Family {
 public:
  Family(DecoderSpec spec, const Weights& weights, MatmulBackend backend)
      : spec_(std::move(spec)), weights_(weights), backend_(backend) {}
  virtual ~Family() = default;

  const DecoderSpec& spec() const { return spec_; }

  // Every tensor this configuration needs, with its shape.
  virtual std::vector<TensorSlot> tensors() const = 0;
  // x_TD: output of the input norm, in the working type. Projection, norms, clamps and rotation.
  virtual Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const = 0;
  // heads_TX: attention output, heads concatenated, working type. Returns [T, D] in the working type.
  virtual at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const = 0;
  // Raw router logits [T, E] in float32, router bias included.
  virtual at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const = 0;
  virtual ExpertWeights expert(int64_t layer, int64_t expert) const = 0;
  // spec().router with what differs from layer to layer (a correction bias).
  virtual const RouterSpec& router(int64_t) const { return spec_.router; }
  // A further score per query head in the softmax of attention, float32 [N] (AttentionShape); undefined = none.
  virtual at::Tensor sinks(int64_t) const { return {}; }
  // The shared experts' output [T, D]; undefined where the layer has none.
  virtual at::Tensor shared_output(int64_t, const at::Tensor&) const { return {}; }
  // Output of a dense layer's MLP [T, D]; only called where spec().is_moe is false.
  virtual at::Tensor dense_output(int64_t layer, const at::Tensor& x_TD) const;

  // Tensors that checkpoints carry and no forward pass reads.
  virtual bool ignores(const std::string& name) const { return name.ends_with("rotary_emb.inv_freq"); }

  // Names of the tensors that all families share.
  std::string layer_prefix(int64_t layer) const { return "model.layers." + std::to_string(layer) + "."; }
  virtual std::string input_norm(int64_t layer) const { return layer_prefix(layer) + "input_layernorm.weight"; }
  virtual std::string ffn_norm(int64_t layer) const { return layer_prefix(layer) + "post_attention_layernorm.weight"; }

 protected:
  // Embedding, the two norms of each layer, final norm and head.
  std::vector<TensorSlot> outer_tensors() const;
  // The common set: these and q/k/v/o (with biases where the spec says so).
  std::vector<TensorSlot> common_tensors() const;
  // x W^T (+ b where "<name>.bias" is there) for "<name>.weight".
  at::Tensor project_linear(const at::Tensor& x_TD, const std::string& name, bool bias) const;

  DecoderSpec spec_;
  const Weights& weights_;
  MatmulBackend backend_;
};

// x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32 (`weight` is float32), rounded once to
// `out_type` (float32 or bfloat16). Differentiable in x.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out_type = at::kFloat);

}  // namespace fare
