// The gated MLP of dense layers and of shared experts: down( silu(gate x) * up x ) with the tensors
// "<prefix>gate_proj.weight", "<prefix>up_proj.weight" [I, D] and "<prefix>down_proj.weight" [D, I]; with `bias` each
// also has a ".bias".
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fare/models/linear.h"
#include "fare/models/weights.h"

namespace fare {

std::vector<TensorSlot> gated_mlp_slots(const std::string& prefix, int64_t width, int64_t hidden, bool bias = false);

// x_TD in the working type; returns [T, D] in the working type. Differentiable in x.
at::Tensor gated_mlp(const Weights& weights, const std::string& prefix, const at::Tensor& x_TD, MatmulBackend backend,
                     bool bias = false);

}  // namespace fare
