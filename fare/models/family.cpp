#include "fare/models/family.h"

#include "fare/core/error.h"
#include "fare/models/device.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {

at::Tensor Family::dense_output(int64_t layer, const at::Tensor&) const {
  FARE_CHECK(false, spec_.model_type + " has no dense layer, asked for layer " + std::to_string(layer));
}

std::vector<TensorSlot> Family::outer_tensors() const {
  const int64_t d = spec_.hidden_size;
  std::vector<TensorSlot> slots = {{"model.embed_tokens.weight", {spec_.vocab_size, d}}, {"model.norm.weight", {d}}};
  if (!spec_.tied_head) slots.push_back({"lm_head.weight", {spec_.vocab_size, d}});
  if (spec_.head_bias) slots.push_back({"lm_head.bias", {spec_.vocab_size}});
  for (int64_t l = 0; l < spec_.num_layers; ++l) {
    slots.push_back({input_norm(l), {d}});
    slots.push_back({ffn_norm(l), {d}});
  }
  return slots;
}

std::vector<TensorSlot> Family::common_tensors() const {
  const int64_t d = spec_.hidden_size, queries = spec_.num_heads * spec_.head_dim,
                keys = spec_.num_kv_heads * spec_.head_dim;
  std::vector<TensorSlot> slots = outer_tensors();
  for (int64_t l = 0; l < spec_.num_layers; ++l) {
    const std::string attention = layer_prefix(l) + "self_attn.";
    const auto add = [&](const std::string& name, int64_t out, int64_t in) {
      slots.push_back({attention + name + ".weight", {out, in}});
      if (spec_.attention_bias) slots.push_back({attention + name + ".bias", {out}});
    };
    add("q_proj", queries, d);
    add("k_proj", keys, d);
    add("v_proj", keys, d);
    add("o_proj", d, queries);
  }
  return slots;
}

at::Tensor Family::project_linear(const at::Tensor& x_TD, const std::string& name, bool bias) const {
  return linear(x_TD, weights_.get(name + ".weight"), bias ? weights_.get(name + ".bias") : at::Tensor(), backend_);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out_type) {
  const at::Tensor x_float = x.to(at::kFloat);
  if (needs_operations(x)) return (x_float * at::rsqrt(x_float.pow(2).mean(-1, true) + eps) * weight).to(out_type);
  FARE_CHECK(out_type == at::kFloat || out_type == at::kBFloat16, "norms are written as float32 or bfloat16");
  const at::Tensor from = x_float.contiguous(), scale = weight.contiguous();
  at::Tensor out = at::empty(from.sizes(), from.options().dtype(out_type));
  const int64_t width = from.size(-1), num_rows = width == 0 ? 0 : from.numel() / width;
  const float* rows = from.const_data_ptr<float>();
  const float* weights = scale.const_data_ptr<float>();
  parallel_rows(0, num_rows, 64, [&](int64_t begin, int64_t end) {
    const auto run = [&](auto* to) {
      kernels::rms_norm(rows + begin * width, weights, static_cast<float>(eps), end - begin, width, to + begin * width);
    };
    if (out_type == at::kFloat) run(out.mutable_data_ptr<float>());
    else run(static_cast<kernels::Bf16*>(out.mutable_data_ptr()));
  });
  return out;
}

}  // namespace fare
