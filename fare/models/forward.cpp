#include "fare/models/forward.h"

#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "fare/core/error.h"
#include "fare/models/attention.h"
#include "fare/models/attribution.h"
#include "fare/models/layer.h"
#include "fare/models/run_record.h"
#include "fare/routing/driven_edit.h"

namespace fare {
namespace {

// Weights of the route's experts as a differentiable function of the logits.
at::Tensor differentiable_weights(const at::Tensor& logits_TE, const Route& route, const RouterSpec& spec) {
  // A chosen expert of weight 0 is one that only fills up after group-limited selection: its score counts as 0.
  const at::Tensor present = (route.ids_TK >= 0).logical_and(route.weights_TK != 0);
  const at::Tensor chosen =
      logits_TE.softmax(-1).gather(1, route.ids_TK.clamp_min(0).to(at::kLong)) * present.to(at::kFloat);
  if (spec.weight_mode == WeightMode::kRaw) return chosen * spec.scaling_factor;
  const at::Tensor sum = chosen.sum(-1, true);
  return chosen / (sum.clamp_min(spec.sum_minimum) + spec.sum_epsilon) * spec.scaling_factor;
}

// The same under edits that keep the sum of the weights.
at::Tensor edited_weights(const at::Tensor& logits_TE, const at::Tensor& shift_TE, const Decision& decision,
                          const RouterSpec& spec) {
  const at::Tensor chosen =
      (logits_TE + shift_TE).softmax(-1).gather(1, decision.after.ids_TK.clamp_min(0).to(at::kLong)) *
      (decision.after.ids_TK >= 0).logical_and(decision.after.weights_TK != 0).to(at::kFloat);
  return chosen / chosen.sum(-1, true) * differentiable_weights(logits_TE, decision.before, spec).sum(-1, true);
}

struct DifferentiableLayer {
  at::Tensor out_TD;
  at::Tensor weights_TK;  // of the experts that ran; undefined where the layer is dense
};

// One layer, differentiable in h_TD; what is decided about routes lies in host memory, as h_TD and what is returned do.
// `decision` is null where the layer is dense.
DifferentiableLayer differentiable_layer(const Model& model, const Pack& pack, const Rotary& rotary, int64_t l,
                                         const at::Tensor& h_TD, const Decision* decision,
                                         std::span<const ScopedEdit> edits) {
  const Family& family = model.family();
  const DecoderSpec& spec = model.spec();
  const at::ScalarType working = model.execution().dtype;
  const at::Tensor h_here = h_TD.to(model.device(l));
  const at::Tensor x = rms_norm(h_here, model.weights().get_float(family.input_norm(l)), spec.rms_norm_eps, working);
  const Projected p = family.project(l, x, rotary.to(model.device(l)));
  const at::Tensor heads = attend_by_operations(p.q_TNd, p.k_TGd, p.v_TGv, pack.segments, attention_shape(model, l));
  const at::Tensor middle = h_here + family.attention_output(l, heads.flatten(1).to(working)).to(at::kFloat);
  const at::Tensor x_ffn = rms_norm(middle, model.weights().get_float(family.ffn_norm(l)), spec.rms_norm_eps, working);
  if (decision == nullptr) return {(middle + family.dense_output(l, x_ffn).to(at::kFloat)).cpu(), {}};
  const at::Tensor logits = family.router_logits(l, x_ffn).cpu();
  const at::Tensor weights = edits.empty() ? differentiable_weights(logits, decision->after, model.router(l))
                                           : edited_weights(logits, logit_shift(edits, x_ffn, spec.router.num_experts),
                                                            *decision, model.router(l));
  at::Tensor out = middle + routed_output(
                                x_ffn, {decision->after.ids_TK, weights}, spec.router.num_experts,
                                [&](int64_t e) { return family.expert(l, e); }, model.execution().backend);
  const at::Tensor shared = family.shared_output(l, x_ffn);
  return {(shared.defined() ? out + shared.to(at::kFloat) : out).cpu(), weights};
}

// Edits that gradients are taken under, at one layer.
std::span<const ScopedEdit> edits_of(const GradientOptions& options, int64_t layer) {
  if (options.edits == nullptr) return {};
  const auto found = options.edits->find(layer);
  return found == options.edits->end() ? std::span<const ScopedEdit>() : found->second;
}

void check_keeps_sum(const GradientOptions& options, const RouterSpec& spec) {
  if (options.edits == nullptr || spec.weight_mode == WeightMode::kRenormalised) return;
  for (const auto& [layer, edits] : *options.edits)
    for (const ScopedEdit& scoped : edits) {
      const auto* add = std::get_if<AddLogit>(&scoped.edit->op);
      const auto* delta = std::get_if<RouterDelta>(&scoped.edit->op);
      FARE_CHECK((add != nullptr && add->keep_sum) || (delta != nullptr && delta->keep_sum),
                 "gradients of raw weights are taken under edits that keep their sum");
    }
}

// u . E_e(x) for the experts that ran, or for every expert.
at::Tensor expert_dots(const Model& model, int64_t layer, const at::Tensor& x_TD, const Route& route,
                       const at::Tensor& u_TD, bool every_expert) {
  const int64_t num_experts = model.spec().router.num_experts;
  at::Tensor dots_TE = at::full({x_TD.size(0), num_experts}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  for (int64_t e = 0; e < num_experts; ++e) {
    const at::Tensor rows = every_expert ? at::arange(x_TD.size(0), at::kLong)
                                         : (route.ids_TK == static_cast<int32_t>(e)).any(1).nonzero().flatten();
    if (rows.size(0) == 0) continue;
    const at::Tensor output =
        expert_output(x_TD.index_select(0, rows), model.family().expert(layer, e), model.execution().backend);
    const at::Tensor dot = (output.to(at::kFloat) * u_TD.index_select(0, rows)).sum(1);
    dots_TE.select(1, e).index_copy_(0, rows, dot);
  }
  return dots_TE;
}

// u . E_e(x) of the experts that ran, which is the gradient of their weights; NaN elsewhere.
at::Tensor dots_of_slots(const at::Tensor& ids_TK, const at::Tensor& weight_gradient_TK, int64_t num_experts) {
  // Empty slots (id -1) go into a column of their own, which is then left out.
  const at::Tensor column_TK = at::where(ids_TK >= 0, ids_TK, static_cast<int64_t>(num_experts)).to(at::kLong);
  const at::Tensor dots =
      at::full({ids_TK.size(0), num_experts + 1}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  return dots.scatter(1, column_TK, weight_gradient_TK).narrow(1, 0, num_experts).contiguous();
}

}  // namespace

at::Tensor scored_gradient(const Model& model, const at::Tensor& h_TD, std::span<const ScoredToken> scored) {
  const at::AutoGradMode with_grad(true);
  constexpr size_t kBlock = 256;  // logits exist for so many scored rows at a time
  at::Tensor gradient_TD = at::zeros_like(h_TD);
  for (size_t begin = 0; begin < scored.size(); begin += kBlock) {
    std::vector<int64_t> rows, tokens;
    std::vector<float> coefficients;
    for (const ScoredToken& token : scored.subspan(begin, std::min(kBlock, scored.size() - begin))) {
      rows.push_back(token.row);
      tokens.push_back(token.token);
      coefficients.push_back(static_cast<float>(token.coefficient));
    }
    const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(rows));
    const at::Tensor leaf = h_TD.index_select(0, index).requires_grad_(true);
    const at::Tensor log_p =
        model.head(leaf).log_softmax(-1).gather(1, at::tensor(at::ArrayRef<int64_t>(tokens)).unsqueeze(1)).squeeze(1);
    const at::Tensor total = (log_p * at::tensor(at::ArrayRef<float>(coefficients))).sum();
    gradient_TD.index_add_(0, index, torch::autograd::grad({total}, {leaf})[0]);
  }
  return gradient_TD;
}

at::Tensor KvCache::append(std::vector<at::Tensor>& store, int64_t layer, const at::Tensor& rows) const {
  at::Tensor& kept = store[static_cast<size_t>(layer)];
  const int64_t needed = num_rows_ + rows.size(0);
  if (!kept.defined() || kept.size(0) < needed) {
    at::Tensor larger = at::empty({std::max(needed, 2 * num_rows_), rows.size(1), rows.size(2)}, rows.options());
    if (kept.defined()) larger.narrow(0, 0, num_rows_).copy_(kept.narrow(0, 0, num_rows_));
    kept = larger;
  }
  kept.narrow(0, num_rows_, rows.size(0)).copy_(rows);
  return kept.narrow(0, 0, needed);
}

at::Tensor forward(const Model& model, const Pack& pack, const ForwardOptions& options) {
  const at::NoGradGuard no_grad;
  const DecoderSpec& spec = model.spec();
  RunRecord* const record = options.record;
  FARE_CHECK(record == nullptr || (options.edits == nullptr && options.cache == nullptr),
             "only a plain run is recorded");
  const auto tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (options.tap) options.tap(site, layer, value.cpu());
  };
  Rotary rotary = make_rotary(spec.rope, pack.positions, pack.length);

  at::Tensor h_TD = model.embed(pack.token_ids);
  for (int64_t l = 0; l < spec.num_layers; ++l) {
    tap(Site::kLayerInput, l, h_TD);
    LayerRecord* const kept =
        record != nullptr && l >= record->first_layer ? &record->layers[static_cast<size_t>(l)] : nullptr;
    const bool above = kept != nullptr && l > record->first_layer;  // of an edited layer
    const bool edited_later = kept != nullptr && record->edited[static_cast<size_t>(l)];
    if (above) kept->input_TD = record->keep(l, h_TD);
    rotary = rotary.to(model.device(l));
    h_TD = after_attention(model, l, h_TD, rotary, pack.segments, {},
                           [&](const at::Tensor& k_TGd, const at::Tensor& v_TGv) {
                             if (above) kept->k_TGd = record->keep(l, k_TGd), kept->v_TGv = record->keep(l, v_TGv);
                             if (options.cache == nullptr) return std::pair(k_TGd, v_TGv);
                             return std::pair(options.cache->append(options.cache->keys_, l, k_TGd),
                                              options.cache->append(options.cache->values_, l, v_TGv));
                           });
    if (edited_later) kept->middle_TD = record->keep(l, h_TD, true);

    const at::Tensor x_TD = ffn_input(model, l, h_TD);
    if (!spec.is_moe[static_cast<size_t>(l)]) {
      add_into(h_TD, model.family().dense_output(l, x_TD));
      continue;
    }
    tap(Site::kRouterInput, l, x_TD);
    const at::Tensor logits_TE = raw_logits(model, l, x_TD);
    tap(Site::kRouterLogits, l, logits_TE);
    if (edited_later) kept->logits_TE = record->keep(l, logits_TE);

    std::span<const ScopedEdit> edits;
    if (options.edits != nullptr)
      if (const auto found = options.edits->find(l); found != options.edits->end()) edits = found->second;
    std::vector<ScopedEdit> driven;
    edits = with_drive(edits, x_TD, driven);
    const Decision decision = route(logits_TE, model.router(l), edits, l, pack.positions);
    if (options.on_decision) options.on_decision(l, logits_TE, decision);
    if (options.receipt != nullptr && !edits.empty()) options.receipt->add(l, decision, edits, pack.multiplicity);
    add_experts(model, l, x_TD, decision, h_TD, options.tap);
  }
  if (options.cache != nullptr) options.cache->num_rows_ += pack.num_rows();
  h_TD = h_TD.cpu();
  if (record != nullptr) record->h_TD = h_TD;
  return h_TD;
}

void router_gradients(const Model& model, const Pack& pack, std::span<const ScoredToken> scored,
                      const std::function<void(const LayerGradient&)>& visit) {
  router_gradients(
      model, pack, [&](const at::Tensor& h_TD) { return scored_gradient(model, h_TD, scored); }, {}, visit);
}

void router_gradients(const Model& model, const Pack& pack, const HeadGradient& head_gradient,
                      const GradientOptions& how, const std::function<void(const LayerGradient&)>& visit) {
  const DecoderSpec& spec = model.spec();
  check_keeps_sum(how, spec.router);
  struct Saved {
    at::Tensor input_TD, router_input_TD, logits_TE;
    Decision decision;
  };
  std::vector<Saved> saved(static_cast<size_t>(spec.num_layers));
  ForwardOptions options;
  options.edits = how.edits;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kLayerInput) saved[static_cast<size_t>(layer)].input_TD = value;
    if (site == Site::kRouterInput) saved[static_cast<size_t>(layer)].router_input_TD = value;
  };
  options.on_decision = [&](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
    saved[static_cast<size_t>(layer)].logits_TE = logits_TE;
    saved[static_cast<size_t>(layer)].decision = decision;
  };
  const at::Tensor last_TD = forward(model, pack, options);

  const at::AutoGradMode with_grad(true);
  at::Tensor gradient_TD = head_gradient(last_TD);
  const Rotary rotary = make_rotary(spec.rope, pack.positions, pack.length);
  for (int64_t l = spec.num_layers - 1; l >= 0; --l) {
    Saved& layer = saved[static_cast<size_t>(l)];
    const bool is_moe = spec.is_moe[static_cast<size_t>(l)];
    const bool go_on = l > how.lowest_layer;  // nothing below that layer's router is asked for
    const at::Tensor above_TD = gradient_TD;
    at::Tensor weight_gradient_TK;
    if (go_on) {
      const at::Tensor leaf = layer.input_TD.detach().clone().requires_grad_(true);
      const auto [out, weights] =
          differentiable_layer(model, pack, rotary, l, leaf, is_moe ? &layer.decision : nullptr, edits_of(how, l));
      std::vector<at::Tensor> asked = {leaf};
      if (is_moe) asked.push_back(weights);
      const auto gradients = torch::autograd::grad({out}, asked, {above_TD});
      gradient_TD = gradients[0];
      if (is_moe) weight_gradient_TK = gradients[1];
    }
    if (is_moe) {
      const at::NoGradGuard no_grad;
      LayerGradient result;
      result.layer = l;
      result.router_input_TD = layer.router_input_TD;
      result.logits_TE = layer.logits_TE;
      if (const auto edits = edits_of(how, l); !edits.empty())
        result.logits_TE = layer.logits_TE + logit_shift(edits, layer.router_input_TD, spec.router.num_experts);
      result.route = layer.decision.after;
      // y_r is added to the residual stream, so its gradient is that of the layer's output.
      result.output_gradient_TD = above_TD;
      const bool every_expert = how.every_expert || spec.router.weight_mode == WeightMode::kRenormalised;
      result.dots_TE = go_on && !every_expert
                           ? dots_of_slots(result.route.ids_TK, weight_gradient_TK, spec.router.num_experts)
                           : expert_dots(model, l, layer.router_input_TD, result.route, above_TD, every_expert);
      if (how.edits == nullptr)
        result.dz_TE = logit_gradients(layer.logits_TE, result.route, result.dots_TE, model.router(l));
      visit(result);
    }
    if (!go_on) break;
    layer = Saved();
  }
}

}  // namespace fare
