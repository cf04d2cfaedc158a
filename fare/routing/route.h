// The only place where a routing decision is made or changed: a pure function from router logits to a route.
// Shapes: T rows (fed tokens), E experts, K slots per row.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "fare/routing/edit.h"
#include "fare/routing/router_spec.h"
#include "fare/routing/stand_ins.h"

namespace fare {

// Which experts run for each row, by falling selection value, and the factor on each expert's output.
struct Route {
  at::Tensor ids_TK;      // int32, -1 = absent slot
  at::Tensor weights_TK;  // float32, 0 where absent
};

// One edit and the rows it touches.
struct ScopedEdit {
  const Edit* edit = nullptr;
  std::vector<uint8_t> scope_T;  // 1 = in scope; empty = every row
  // ForceRoutes only: row of the edit's RouteTable to replay for each of the T rows.
  std::vector<int64_t> table_row_T;
  // Edits that read the router's input only: what they read there (driven_edit.h).
  at::Tensor drive;
};

// A decision without and with the edits, on the same logits. Without edits `after` shares `before`'s tensors.
struct Decision {
  Route before;
  Route after;
  at::Tensor shared_scale_T;       // float32 factor on the shared experts' output; undefined = 1 everywhere
  std::vector<Replaced> replaced;  // experts that masks took out of `after` for a stand-in, by ascending row
};

// Largest number of experts per row that these edits allow (E with top_p).
int64_t slots_needed(const RouterSpec& spec, std::span<const ScopedEdit> edits);

// logits_TE: float32, CPU, contiguous, raw router logits (router bias included). `edits` act at the points logits,
// selection, weights, in that order; within a point in the given order, each on what the earlier ones left.
// `layer` only selects the layer of a ForceRoutes table and names the place in errors.
// `position_T`: position of each row in its text, which a mask of mode resample draws by; else it may be empty.
// Throws NumericError if a logit is NaN (row and expert named).
Decision route(const at::Tensor& logits_TE, const RouterSpec& spec, std::span<const ScopedEdit> edits = {},
               int64_t layer = 0, std::span<const int32_t> position_T = {});

// softmax over E of the raw logits in float32, as route() computes it: [T, E].
at::Tensor router_scores(const at::Tensor& logits_TE);

}  // namespace fare
