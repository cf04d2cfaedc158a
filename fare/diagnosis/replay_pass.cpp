#include "fare/diagnosis/replay_pass.h"

#include "fare/models/layer.h"

namespace fare {
namespace {

// The mask that puts `stand_ins` in the place of a layer's experts.
Edit stand_in_mask(const StandIns& stand_ins, int64_t layer) {
  Mask mask{.mode = Mask::Mode::kResample};
  for (const auto& [expert, unused] : stand_ins.outputs_ND.at(layer)) mask.experts.push_back(expert);
  mask.stand_ins = {std::shared_ptr<void>(), &stand_ins};  // not owned
  return {mask, {layer}, {}};
}

}  // namespace

at::Tensor replay_pass(const Model& model, const Pack& pack, const PassOptions& options) {
  const at::NoGradGuard no_grad;
  const DecoderSpec& spec = model.spec();
  const auto tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (options.tap) options.tap(site, layer, value.cpu());
  };
  const Rotary rotary = make_rotary(spec.rope, pack.positions, pack.length);
  at::Tensor h_TD = options.start_TD.defined() ? options.start_TD : model.embed(pack.token_ids);
  for (int64_t l = options.first_layer; l < spec.num_layers; ++l) {
    if (const auto added = options.added_D.find(l); added != options.added_D.end()) h_TD = h_TD + added->second;
    tap(Site::kLayerInput, l, h_TD);
    h_TD = after_attention(model, l, h_TD, rotary, pack.segments, {},
                           [](const at::Tensor& k_TGd, const at::Tensor& v_TGv) { return std::pair(k_TGd, v_TGv); });
    const at::Tensor x_TD = ffn_input(model, l, h_TD);
    if (!spec.is_moe[static_cast<size_t>(l)]) {
      add_into(h_TD, model.family().dense_output(l, x_TD));
      continue;
    }
    tap(Site::kRouterInput, l, x_TD);
    at::Tensor logits_TE;
    if (options.logits_TE != nullptr)
      if (const auto found = options.logits_TE->find(l); found != options.logits_TE->end()) logits_TE = found->second;
    if (!logits_TE.defined()) logits_TE = raw_logits(model, l, x_TD);
    std::span<const ScopedEdit> edits;
    if (options.edits != nullptr)
      if (const auto found = options.edits->find(l); found != options.edits->end()) edits = found->second;
    const bool stands_in = options.stand_ins != nullptr && options.stand_ins->outputs_ND.contains(l);
    std::vector<ScopedEdit> all(edits.begin(), edits.end());
    const Edit mask = stands_in ? stand_in_mask(*options.stand_ins, l) : Edit{};
    if (stands_in) all.push_back({&mask, {}, {}});
    const Decision decision = route(logits_TE, model.router(l), all, l, pack.positions);
    if (options.on_decision) options.on_decision(l, logits_TE, decision);
    add_experts(model, l, x_TD, decision, h_TD, options.tap);
  }
  return h_TD.cpu();
}

}  // namespace fare
