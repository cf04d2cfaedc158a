// The product of routed experts: rows sorted by expert, one product per expert, no padding.
// Shapes: T rows, D width, I expert width, K slots.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "fare/models/linear.h"
#include "fare/routing/route.h"

namespace fare {

// GPT-OSS's gate and up as one matrix [2I, D] whose rows take turns (2i gate, 2i + 1 up), with its own activation:
// min(g, limit) sigmoid(alpha min(g, limit)) (clamp(u, -limit, limit) + 1). The matrix may be a transposed view.
struct ClampedGate {
  at::Tensor weight_JD, bias_J;
  double limit = 7, alpha = 1.702;
};

// Weights of one expert in the working type; biases may be undefined.
struct ExpertWeights {
  at::Tensor gate_ID, up_ID, down_DI;
  at::Tensor gate_bias_I, up_bias_I, down_bias_D;
  std::optional<ClampedGate> clamped;  // in place of gate and up
};

// down( silu(gate x) * up x ), x [M, D] in the working type; differentiable in x. Returns [M, D]. Computed on the
// device of the weights, wherever x comes from and goes back to.
at::Tensor expert_output(const at::Tensor& x_MD, const ExpertWeights& weights, MatmulBackend backend);

// y_t = sum over slots of weight * Expert_id(x_t), float32 [T, D], on x's device; rows without experts are zero. The
// route lies in host memory. `weights_of(e)` is called once for each expert that has rows, possibly from several
// threads at once. Sums run in slot order whatever the number of threads.
at::Tensor routed_output(const at::Tensor& x_TD, const Route& route, int64_t num_experts,
                         const std::function<ExpertWeights(int64_t expert)>& weights_of, MatmulBackend backend);

}  // namespace fare
