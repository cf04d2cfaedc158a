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

// Weights of one expert in the working type; biases may be undefined.
struct ExpertWeights {
  at::Tensor gate_ID, up_ID, down_DI;
  at::Tensor gate_bias_I, up_bias_I, down_bias_D;
};

// down( silu(gate x) * up x ), x [M, D] in the working type; differentiable in x. Returns [M, D].
at::Tensor expert_output(const at::Tensor& x_MD, const ExpertWeights& weights, MatmulBackend backend);

// y_t = sum over slots of weight * Expert_id(x_t), float32 [T, D]; rows without experts are zero.
// `weights_of(e)` is called once for each expert that has rows, possibly from several threads at once.
// Sums run in slot order whatever the number of threads.
at::Tensor routed_output(const at::Tensor& x_TD, const Route& route, int64_t num_experts,
                         const std::function<ExpertWeights(int64_t expert)>& weights_of, MatmulBackend backend);

}  // namespace fare
