// How close a route is to another one: where rounding could decide which experts run, scores of equal texts may differ.
// Shapes: T rows, E experts.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "fare/routing/router_spec.h"

namespace fare {

// A route is a near tie when the values that decide the selection differ by at most this between the last expert that
// is chosen and the first that is not (methods 0.3).
inline constexpr double kRoutingNearTie = 1e-5;

// That difference for every row, by the router's own rule: softmax scores, or logits (select_by_logit), plus the
// correction bias, and with groups also between the last group kept and the first left out. `router`: of the very
// layer, whose correction bias counts. Infinite where nothing is left out.
std::vector<double> selection_gaps(const at::Tensor& logits_TE, const RouterSpec& router);

}  // namespace fare
