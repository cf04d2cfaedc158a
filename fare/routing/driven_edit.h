// Edits whose size depends on the router's input x: what they read there, row by row, before route() decides.
// Shapes: T rows, D width of x, E experts.
#pragma once

#include <ATen/ATen.h>

#include <span>
#include <vector>

#include "fare/routing/route.h"

namespace fare {

// True for add_logit with a gate and for router_delta.
bool reads_input(const EditOp& op);

// `edits` with `drive` filled from x_TD where an edit reads it; the given ones themselves where none does. `storage`
// holds what is returned and must outlive it.
std::span<const ScopedEdit> with_drive(std::span<const ScopedEdit> edits, const at::Tensor& x_TD,
                                       std::vector<ScopedEdit>& storage);

// What add_logit (selection and weight) and router_delta edits add to the logits: float32 [T, E], differentiable in
// x_TD. Fails a check on any other edit.
at::Tensor logit_shift(std::span<const ScopedEdit> edits, const at::Tensor& x_TD, int64_t num_experts);

}  // namespace fare
