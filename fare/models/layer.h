// The parts of one layer, on whatever rows of a pack they are asked for: forward() asks for all, forward_changed() for
// some. Everything but attention treats each row on its own. Rows may lie anywhere (device.h): they are taken to the
// layer. Shapes: A rows, T rows of the pack, D width, E experts.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "fare/models/attention.h"
#include "fare/models/forward.h"
#include "fare/models/model.h"

namespace fare {

// Gives all rows' keys and values, [R, G, d] and [R, G, v], for those of the rows that are computed, which lie on the
// layer's device.
using JoinKeys = std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& k_AGd, const at::Tensor& v_AGv)>;

// h_AD plus the layer's attention: a new tensor on the layer's device. `queries` as in attend(); empty = the last A
// rows.
at::Tensor after_attention(const Model& model, int64_t layer, const at::Tensor& h_AD, const Rotary& rotary,
                           const std::vector<Segment>& segments, std::span<const SegmentQueries> queries,
                           const JoinKeys& join);

AttentionShape attention_shape(const Model& model, int64_t layer);

// Input of the router, the experts or the dense MLP: the norm of h_AD, in the working type, on the layer's device.
at::Tensor ffn_input(const Model& model, int64_t layer, const at::Tensor& h_AD);

// Raw router logits of ffn_input's rows, float32 and contiguous, in host memory. Throws NumericError naming the layer
// at a NaN or Inf.
at::Tensor raw_logits(const Model& model, int64_t layer, const at::Tensor& x_AD);

// h_AD += routed and shared experts' output under `decision.after`, and what stands in for replaced ones.
void add_experts(const Model& model, int64_t layer, const at::Tensor& x_AD, const Decision& decision, at::Tensor& h_AD,
                 const Tap& tap = {});

// h_AD += branch_AD (float32 or bfloat16).
void add_into(at::Tensor& h_AD, const at::Tensor& branch_AD);

}  // namespace fare
