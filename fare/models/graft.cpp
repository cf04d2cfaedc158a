#include "fare/models/graft.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/models/model.h"
#include "fare/routing/absent_expert.h"

namespace fare {
namespace {

DecoderSpec with_one_more(DecoderSpec spec) {
  ++spec.router.num_experts;
  return spec;
}

class GraftedFamily final : public Family {
 public:
  GraftedFamily(const Model& base, const Graft& graft)
      : Family(with_one_more(base.spec()), base.weights(), base.execution().backend),
        base_(base.family()),
        graft_(graft) {
    // Products want the layer's device and the working type; rows of the router stay float32.
    const at::Device device = base.device(graft.layer);
    const at::ScalarType type = base.execution().dtype;
    ExpertWeights& expert = graft_.expert;
    for (at::Tensor* part :
         {&expert.gate_ID, &expert.up_ID, &expert.down_DI, &expert.gate_bias_I, &expert.up_bias_I, &expert.down_bias_D})
      if (part->defined()) *part = part->to(device, type).contiguous();
    graft_.router_row_D = graft.router_row_D.to(device, at::kFloat).contiguous();
    for (int64_t l = 0; l < spec_.num_layers; ++l) {
      RouterSpec router = base_.router(l);
      ++router.num_experts;
      if (std::vector<float>& bias = router.selection_bias; !bias.empty())
        bias.push_back(l == graft.layer
                           ? std::accumulate(bias.begin(), bias.end(), 0.0f) / static_cast<float>(bias.size())
                           : kAbsentLogit);
      routers_.push_back(std::move(router));
    }
  }

  std::vector<TensorSlot> tensors() const override { return base_.tensors(); }
  Projected project(int64_t layer, const at::Tensor& x_TD, const Rotary& rotary) const override {
    return base_.project(layer, x_TD, rotary);
  }
  at::Tensor attention_output(int64_t layer, const at::Tensor& heads_TX) const override {
    return base_.attention_output(layer, heads_TX);
  }
  at::Tensor router_logits(int64_t layer, const at::Tensor& x_TD) const override {
    const at::Tensor own_TE = base_.router_logits(layer, x_TD);
    const at::Tensor added_T = layer == graft_.layer
                                   ? at::mv(x_TD.to(at::kFloat), graft_.router_row_D).to(own_TE.device())
                                   : at::full({own_TE.size(0)}, kAbsentLogit, own_TE.options());
    return at::cat({own_TE, added_T.unsqueeze(1)}, 1);
  }
  ExpertWeights expert(int64_t layer, int64_t expert) const override {
    if (expert + 1 < spec_.router.num_experts) return base_.expert(layer, expert);
    if (layer == graft_.layer) return graft_.expert;
    const at::Tensor zeros_1D = at::zeros({1, spec_.hidden_size}, graft_.expert.gate_ID.options());
    return {.gate_ID = zeros_1D, .up_ID = zeros_1D, .down_DI = zeros_1D.t().contiguous()};
  }
  const RouterSpec& router(int64_t layer) const override { return routers_[static_cast<size_t>(layer)]; }
  at::Tensor sinks(int64_t layer) const override { return base_.sinks(layer); }
  at::Tensor shared_output(int64_t layer, const at::Tensor& x_TD) const override {
    return base_.shared_output(layer, x_TD);
  }
  at::Tensor dense_output(int64_t layer, const at::Tensor& x_TD) const override {
    return base_.dense_output(layer, x_TD);
  }
  bool ignores(const std::string& name) const override { return base_.ignores(name); }
  std::string input_norm(int64_t layer) const override { return base_.input_norm(layer); }
  std::string ffn_norm(int64_t layer) const override { return base_.ffn_norm(layer); }

 private:
  const Family& base_;
  Graft graft_;
  std::vector<RouterSpec> routers_;  // [num_layers]
};

}  // namespace

std::string graft_obstacle(const Model& model) {
  const DecoderSpec& spec = model.spec();
  if (spec.moe_layers().empty()) return "the model has no MoE layer";
  if (spec.router.num_groups > 1)
    return fmt::format(
        "its routers first choose among {} groups of equal size, which one more expert does not divide into",
        spec.router.num_groups);
  return "";
}

std::unique_ptr<Family> graft_onto(const Model& base, const Graft& graft) {
  const DecoderSpec& spec = base.spec();
  if (const std::string obstacle = graft_obstacle(base); !obstacle.empty())
    throw ModelMismatch("no expert can be added to this model: " + obstacle);
  const std::vector<int64_t> layers = spec.moe_layers();
  if (std::find(layers.begin(), layers.end(), graft.layer) == layers.end())
    throw ModelMismatch(fmt::format("no expert can be added to layer {}: it has no experts", graft.layer));
  const ExpertWeights& e = graft.expert;
  const auto is = [](const at::Tensor& tensor, const std::vector<int64_t>& shape) {
    return tensor.defined() && tensor.sizes() == shape;
  };
  const int64_t width = e.gate_ID.defined() ? e.gate_ID.size(0) : 0;
  if (!is(graft.router_row_D, {spec.hidden_size}) || !is(e.gate_ID, {width, spec.hidden_size}) ||
      !is(e.up_ID, {width, spec.hidden_size}) || !is(e.down_DI, {spec.hidden_size, width}) || e.clamped)
    throw ModelMismatch(fmt::format("a graft needs a router row of {0} numbers, gate and up [I, {0}] and down [{0}, I]",
                                    spec.hidden_size));
  return std::make_unique<GraftedFamily>(base, graft);
}

std::string graft_hash(const Graft& graft) {
  Sha256 hash;
  hash.add(&graft.layer, sizeof graft.layer);
  const ExpertWeights& e = graft.expert;
  for (const at::Tensor& tensor :
       {graft.router_row_D, e.gate_ID, e.up_ID, e.down_DI, e.gate_bias_I, e.up_bias_I, e.down_bias_D}) {
    const int64_t count = tensor.defined() ? tensor.numel() : -1;
    hash.add(&count, sizeof count);
    if (count < 0) continue;
    const at::Tensor values = tensor.cpu().to(at::kFloat).contiguous();
    hash.add(values.const_data_ptr(), static_cast<size_t>(count) * sizeof(float));
  }
  return hash.hex();
}

}  // namespace fare
