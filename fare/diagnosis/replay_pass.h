// A forward pass that is told what its routers decide on, and may put other outputs in the place of experts' own: what
// the decomposition of a mask's effect needs and an intervention cannot say (methods A8).
// Shapes: T rows of a pack, D width, E experts, N stored outputs.
#pragma once

#include <map>

#include "fare/models/forward.h"

namespace fare {

struct PassOptions {
  int64_t first_layer = 0;
  at::Tensor start_TD;  // residual stream before first_layer; undefined = the embeddings (first_layer 0)
  // Raw router logits [T, E] that routes are decided on in place of the layer's own; layers not named keep theirs.
  const std::map<int64_t, at::Tensor>* logits_TE = nullptr;
  const LayerEdits* edits = nullptr;
  const StandIns* stand_ins = nullptr;    // of experts whose own output is replaced wherever they are chosen
  std::map<int64_t, at::Tensor> added_D;  // added to every row of the residual stream before that layer, float32
  Tap tap;                                // sites as in forward(); a layer's input as the layer sees it
  std::function<void(int64_t layer, const at::Tensor& logits_TE, const Decision& decision)> on_decision;
};

// Residual stream after the last layer, [T, D]. Without options the bits of forward().
at::Tensor replay_pass(const Model& model, const Pack& pack, const PassOptions& options);

}  // namespace fare
