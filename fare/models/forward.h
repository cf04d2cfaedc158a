// The one loop over layers: attention, routing, experts, taps and edits. A family never owns it.
// Shapes: T rows of a pack, D width, E experts.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "fare/models/model.h"
#include "fare/models/pack.h"
#include "fare/routing/receipt.h"
#include "fare/routing/route.h"

namespace fare {

// Named intermediates, all [T, ..] and in host memory. Taps observe, they never change anything.
enum class Site {
  kLayerInput,    // residual stream before the layer, float32 [T, D]
  kRouterInput,   // output of the norm before the MoE block, working type [T, D]
  kRouterLogits,  // raw, before any edit, float32 [T, E]
  kRoutedOutput,  // y_r, float32 [T, D]
  kSharedOutput,  // y_sh after shared_scale, [T, D]
};
using Tap = std::function<void(Site site, int64_t layer, const at::Tensor& value)>;

// Edits of one forward pass, resolved to rows: decoder layer -> edits in file order.
using LayerEdits = std::map<int64_t, std::vector<ScopedEdit>>;

// Keys and values of rows already computed, for generation. The next pack's segments cover old and new rows.
class KvCache {
 public:
  explicit KvCache(int64_t num_layers)
      : keys_(static_cast<size_t>(num_layers)), values_(static_cast<size_t>(num_layers)) {}
  int64_t num_rows() const { return num_rows_; }

 private:
  friend at::Tensor forward(const Model&, const Pack&, const struct ForwardOptions&);
  // Appends rows after `num_rows_` and returns all of them; num_rows_ moves once per pass.
  at::Tensor append(std::vector<at::Tensor>& store, int64_t layer, const at::Tensor& rows) const;

  std::vector<at::Tensor> keys_, values_;  // per layer, with spare capacity
  int64_t num_rows_ = 0;
};

struct ForwardOptions {
  const LayerEdits* edits = nullptr;
  Receipt* receipt = nullptr;  // filled for layers with edits
  Tap tap;
  std::function<void(int64_t layer, const at::Tensor& logits_TE, const Decision& decision)> on_decision;
  KvCache* cache = nullptr;
  struct RunRecord* record = nullptr;  // filled for passes that change little of this one (run_record.h); without edits
};

// Residual stream after the last layer, before the final norm: float32 [T, D], in host memory.
// With a cache, `pack.token_ids` are the new rows only while `pack.segments` cover all rows.
at::Tensor forward(const Model& model, const Pack& pack, const ForwardOptions& options = {});

// sum over `scored` of coefficient * log p(token | row): what router_gradients differentiates.
struct ScoredToken {
  int64_t row = 0;
  int32_t token = 0;
  double coefficient = 1;
};

// dM/dh of that sum at the residual stream after the last layer: float32 [T, D].
at::Tensor scored_gradient(const Model& model, const at::Tensor& h_TD, std::span<const ScoredToken> scored);

// One MoE layer of a backward pass.
struct LayerGradient {
  int64_t layer = 0;
  at::Tensor router_input_TD;
  at::Tensor logits_TE;  // router logits; under edits after them
  Route route;
  at::Tensor output_gradient_TD;  // u = dM/dy_r
  at::Tensor dots_TE;             // u . E_e(x); NaN where expert e did not run and was not needed
  at::Tensor dz_TE;               // dM/dz, see attribution.h; undefined under edits
};

// dM/dz of every MoE layer, token and expert from one backward pass; activations are recomputed layer by layer, weights
// get no gradient. Layers are visited from the last to the first. Costs about three forwards, plus all experts on all
// rows in mode R (the replacement estimate of unselected experts needs their outputs).
void router_gradients(const Model& model, const Pack& pack, std::span<const ScoredToken> scored,
                      const std::function<void(const LayerGradient&)>& visit);

struct GradientOptions {
  // The pass is taken under these: add_logit (selection and weight) and router_delta; with raw weights they must keep
  // the sum of the weights.
  const LayerEdits* edits = nullptr;
  bool every_expert = false;  // dots_TE of all experts in mode U too
  int64_t lowest_layer = 0;   // layers below it are not visited
};
// dM/dh at the residual stream after the last layer, given that stream.
using HeadGradient = std::function<at::Tensor(const at::Tensor& h_TD)>;

// The same for any M of the last residual stream.
void router_gradients(const Model& model, const Pack& pack, const HeadGradient& head_gradient,
                      const GradientOptions& how, const std::function<void(const LayerGradient&)>& visit);

}  // namespace fare
