// Closed forms of dM/dz at a MoE block, from u = dM/dy_r. docs/attribution.md has the derivation.
#pragma once

#include <ATen/ATen.h>

#include "fare/routing/route.h"

namespace fare {

// logits_TE float32; dots_TE: u . E_e(x) for the chosen experts (and for all experts in mode R, where unselected
// experts get the replacement estimate against the lowest-weight chosen one: their first-order effect is zero). w:
// weight applied, gamma: scaling factor, S: the chosen experts, y_r = sum of w_e E_e(x). A chosen expert of weight 0
// (it fills up after group-limited selection) counts as unselected.
//   mode U: dM/dz_e = p_e ( gamma 1[e in S] u.E_e - u.y_r )
//   mode R, e in S: w_e ( u.E_e - u.y_r / gamma )
//   mode R, e not in S: u.(y_r' - y_r) with e in place of the chosen expert of the lowest weight, weights recomputed.
at::Tensor logit_gradients(const at::Tensor& logits_TE, const Route& route, const at::Tensor& dots_TE,
                           const RouterSpec& spec);

}  // namespace fare
