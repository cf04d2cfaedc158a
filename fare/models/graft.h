// One expert more in one MoE layer of an opened model, without a copy of its weights: a known cause to be found.
// Shapes: T rows, D width, E experts of the checkpoint, I width of the expert.
//
// The grafted model has E + 1 experts in every MoE layer. In `layer` the last one is the graft. In the others it is
// absent: its router logit is kAbsentLogit for every token, its probability 0, its output 0, so that those layers
// compute what they did, to the bit. Layer `layer` does as well for tokens that do not choose the graft, but for its
// share of the softmax where the weights are not divided by their sum.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>

#include "fare/models/family.h"

namespace fare {

class Model;

struct Graft {
  int64_t layer = 0;        // decoder layer; must be MoE
  at::Tensor router_row_D;  // float32; the graft's raw logit is x . row
  ExpertWeights expert;     // any width I, any device; down( silu(gate x) * up x ) whatever the family's activation
};

// Why no expert can be added to this model; empty where one can. Group-limited routers choose among groups of equal
// size.
std::string graft_obstacle(const Model& model);

// The family of `base` with the graft; `base` must outlive it. Throws ModelMismatch with graft_obstacle's reason, for a
// layer that is not MoE, and for shapes that do not fit.
std::unique_ptr<Family> graft_onto(const Model& base, const Graft& graft);

// SHA-256 over layer and values.
std::string graft_hash(const Graft& graft);

}  // namespace fare
