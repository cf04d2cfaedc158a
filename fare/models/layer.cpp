#include "fare/models/layer.h"

#include "fare/core/error.h"
#include "fare/models/device.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

// out = a + b; a and out float32, b float32 or bfloat16. out may be a.
void add_tensors(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  if (!a.is_cpu()) {
    at::add_out(out, a, b.to(a.device(), at::kFloat));
    return;
  }
  const at::Tensor other = b.cpu().contiguous();
  const float* from = a.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  parallel_rows(0, a.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    if (other.scalar_type() == at::kFloat)
      kernels::add(from + begin, other.const_data_ptr<float>() + begin, end - begin, to + begin);
    else
      kernels::add(from + begin, static_cast<const kernels::Bf16*>(other.const_data_ptr()) + begin, end - begin,
                   to + begin);
  });
}

// y_AD += weight times stand-in, for each. Rows are summed in host memory first, so that no row is added to twice.
void add_replaced(const std::vector<Replaced>& replaced, at::Tensor& y_AD) {
  if (replaced.empty()) return;
  const int64_t width = y_AD.size(1);
  std::vector<int64_t> rows;
  for (const Replaced& one : replaced)
    if (rows.empty() || rows.back() != one.row) rows.push_back(one.row);
  const at::Tensor sums_RD = at::zeros({static_cast<int64_t>(rows.size()), width}, at::kFloat);
  float* sum_D = sums_RD.mutable_data_ptr<float>() - width;
  int64_t last = -1;
  for (const Replaced& one : replaced) {
    if (one.row != last) sum_D += width;
    last = one.row;
    for (int64_t d = 0; d < width; ++d) sum_D[d] += one.weight * one.output_D[d];
  }
  y_AD.index_add_(0, at::tensor(at::ArrayRef<int64_t>(rows)).to(y_AD.device()),
                  sums_RD.to(y_AD.device(), y_AD.scalar_type()));
}

at::Tensor norm(const Model& model, const std::string& name, const at::Tensor& h_AD) {
  return rms_norm(h_AD, model.weights().get_float(name), model.spec().rms_norm_eps, model.execution().dtype);
}

}  // namespace

AttentionShape attention_shape(const Model& model, int64_t layer) {
  const DecoderSpec& spec = model.spec();
  const double factor = model.execution().scale_factor ? spec.attention_scale_factor : 1.0;
  return {spec.attention_scale * factor, spec.window(layer), model.family().sinks(layer)};
}

at::Tensor after_attention(const Model& model, int64_t layer, const at::Tensor& h_AD, const Rotary& rotary,
                           const std::vector<Segment>& segments, std::span<const SegmentQueries> queries,
                           const JoinKeys& join) {
  const Family& family = model.family();
  const at::Device device = model.device(layer);
  const at::Tensor h_here = h_AD.to(device);
  const Projected p = family.project(layer, norm(model, family.input_norm(layer), h_here), rotary.to(device));
  const auto [k_RGd, v_RGv] = join(p.k_TGd.contiguous(), p.v_TGv.contiguous());
  const at::Tensor heads = attend(p.q_TNd.contiguous(), k_RGd, v_RGv, segments, attention_shape(model, layer), queries);
  at::Tensor out = at::empty_like(h_here);
  add_tensors(h_here, family.attention_output(layer, heads.flatten(1).to(model.execution().dtype)), out);
  return out;
}

at::Tensor ffn_input(const Model& model, int64_t layer, const at::Tensor& h_AD) {
  return norm(model, model.family().ffn_norm(layer), h_AD.to(model.device(layer)));
}

at::Tensor raw_logits(const Model& model, int64_t layer, const at::Tensor& x_AD) {
  const at::Tensor logits_AE = model.family().router_logits(layer, x_AD.to(model.device(layer))).cpu().contiguous();
  // Every later layer depends on them.
  if (!kernels::all_finite(logits_AE.const_data_ptr<float>(), logits_AE.numel()))
    throw NumericError("layer " + std::to_string(layer) +
                       ": the router logits hold a NaN or Inf; the weights or an "
                       "earlier layer's output are out of range for this working type");
  return logits_AE;
}

void add_experts(const Model& model, int64_t layer, const at::Tensor& x_AD, const Decision& decision, at::Tensor& h_AD,
                 const Tap& tap) {
  const Family& family = model.family();
  at::Tensor routed = routed_output(
      x_AD, decision.after, model.spec().router.num_experts, [&](int64_t e) { return family.expert(layer, e); },
      model.execution().backend);
  add_replaced(decision.replaced, routed);
  if (tap) tap(Site::kRoutedOutput, layer, routed.cpu());
  add_into(h_AD, routed);
  at::Tensor shared = family.shared_output(layer, x_AD);
  if (!shared.defined()) return;
  if (decision.shared_scale_T.defined()) shared = shared * decision.shared_scale_T.to(shared.device()).unsqueeze(1);
  if (tap) tap(Site::kSharedOutput, layer, shared.cpu());
  add_into(h_AD, shared);
}

void add_into(at::Tensor& h_AD, const at::Tensor& branch_AD) { add_tensors(h_AD, branch_AD, h_AD); }

}  // namespace fare
