#include "fare/diagnosis/replay_pass.h"

#include "fare/core/philox.h"
#include "fare/models/layer.h"

namespace fare {
namespace {

// Takes the stood-in experts out of `route` and returns what they would have added, per expert: rows and weights.
struct Removed {
  std::vector<int64_t> rows;
  std::vector<float> weights;
};
std::map<int32_t, Removed> take_out(Route& route, const std::map<int32_t, at::Tensor>& outputs) {
  route = {route.ids_TK.clone(), route.weights_TK.clone()};
  int32_t* ids = route.ids_TK.mutable_data_ptr<int32_t>();
  float* weights = route.weights_TK.mutable_data_ptr<float>();
  const int64_t k = route.ids_TK.size(1);
  std::map<int32_t, Removed> removed;
  for (int64_t i = 0; i < route.ids_TK.numel(); ++i) {
    if (!outputs.contains(ids[i])) continue;
    Removed& one = removed[ids[i]];
    one.rows.push_back(i / k);
    one.weights.push_back(weights[i]);
    ids[i] = -1;
    weights[i] = 0;
  }
  return removed;
}

void add_stand_ins(int64_t layer, const StandIns& stand_ins, const std::map<int32_t, Removed>& removed, at::Tensor& h_TD) {
  for (const auto& [expert, one] : removed) {
    const at::Tensor& outputs_ND = stand_ins.outputs_ND.at(layer).at(expert);
    const RandomStream stream(stand_ins.seed, "masking/resample", static_cast<uint32_t>(layer), static_cast<uint32_t>(expert));
    std::vector<int64_t> drawn;
    for (const int64_t row : one.rows)
      drawn.push_back(static_cast<int64_t>(stream.index(static_cast<uint64_t>(row), static_cast<uint64_t>(outputs_ND.size(0)))));
    const at::Tensor added = outputs_ND.index_select(0, at::tensor(at::ArrayRef<int64_t>(drawn))) *
                             at::tensor(at::ArrayRef<float>(one.weights)).unsqueeze(1);
    h_TD.index_add_(0, at::tensor(at::ArrayRef<int64_t>(one.rows)).to(h_TD.device()), added.to(h_TD.device()));
  }
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
    Decision decision = route(logits_TE, model.router(l), edits, l);
    if (options.on_decision) options.on_decision(l, logits_TE, decision);
    std::map<int32_t, Removed> removed;
    if (options.stand_ins != nullptr)
      if (const auto found = options.stand_ins->outputs_ND.find(l); found != options.stand_ins->outputs_ND.end())
        removed = take_out(decision.after, found->second);
    add_experts(model, l, x_TD, decision, h_TD, options.tap);
    if (!removed.empty()) add_stand_ins(l, *options.stand_ins, removed, h_TD);
  }
  return h_TD.cpu();
}

}  // namespace fare
