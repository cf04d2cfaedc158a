#include "fare/models/experts.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "fare/core/error.h"
#include "fare/models/device.h"
#include "fare/models/expert_rows.h"
#include "fare/models/row_kernels.h"

namespace fare {
namespace {

// By tensor operations: differentiable, and on any device. Every sum runs in slot order.
at::Tensor routed_by_operations(const at::Tensor& x_TD, const Route& route, const ExpertRows& rows,
                                const std::function<ExpertWeights(int64_t)>& weights_of, MatmulBackend backend) {
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return at::tensor(at::ArrayRef<int64_t>(values), at::kLong).to(x_TD.device());
  };
  const int64_t num_rows = route.ids_TK.size(0), k = route.ids_TK.size(1), num_entries = rows.first.back();
  std::vector<int64_t> counts;
  for (int64_t e = 0; e < rows.num_experts(); ++e) counts.push_back(rows.count(e));
  // Split once: the gradient of a part taken alone is as large as the whole.
  const std::vector<at::Tensor> parts_x = x_TD.index_select(0, on_device(rows.row)).split_with_sizes(counts);
  std::vector<at::Tensor> outputs;
  for (int64_t e = 0; e < rows.num_experts(); ++e)
    if (counts[static_cast<size_t>(e)] > 0)
      outputs.push_back(expert_output(parts_x[static_cast<size_t>(e)], weights_of(e), backend));
  outputs.push_back(at::zeros({1, x_TD.size(1)}, x_TD.options()));  // for absent slots
  std::vector<int64_t> entry_TK = rows.entry_TK;
  std::replace(entry_TK.begin(), entry_TK.end(), int64_t{-1}, num_entries);
  const at::Tensor output_TKD = at::cat(outputs).index_select(0, on_device(entry_TK)).view({num_rows, k, x_TD.size(1)});
  return at::bmm(route.weights_TK.to(x_TD.device()).unsqueeze(1), output_TKD.to(at::kFloat)).squeeze(1);
}

// What a differentiable run in host memory leaves to its backward pass: the experts' outputs with their graphs.
struct KeptExperts : torch::CustomClassHolder {
  ExpertRows rows;
  std::vector<at::Tensor> inputs, outputs;  // per expert [M, D]; undefined without rows
  at::Tensor weights_TK;
  bool of_input = false;  // the gradient of x is asked for
};

struct RoutedCall {
  const ExpertRows& rows;
  const std::function<ExpertWeights(int64_t)>& weights_of;
  MatmulBackend backend;
};

// As the run without gradients, on as many threads: experts one by one, forwards and backwards.
class RoutedExperts : public torch::autograd::Function<RoutedExperts> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& weights_TK, const RoutedCall& call) {
    auto kept = c10::make_intrusive<KeptExperts>();
    kept->rows = call.rows;
    kept->weights_TK = weights_TK.detach().contiguous();
    kept->of_input = x_TD.requires_grad();
    kept->inputs.resize(static_cast<size_t>(call.rows.num_experts()));
    kept->outputs.resize(kept->inputs.size());
    const at::AutoGradMode mode(kept->of_input);
    const at::Tensor x = x_TD.detach().contiguous();
    for_busy_experts(call.rows, [&](int64_t e) {
      at::Tensor& input = kept->inputs[static_cast<size_t>(e)];
      input = gather_rows(x, call.rows, e).requires_grad_(kept->of_input);
      kept->outputs[static_cast<size_t>(e)] = expert_output(input, call.weights_of(e), call.backend).contiguous();
    });
    const at::NoGradGuard no_grad;
    const at::Tensor y_TD = combine(kept->rows, kept->outputs, kept->weights_TK, x.sizes(), x.scalar_type());
    context->saved_data["experts"] = c10::IValue::make_capsule(kept);
    return y_TD;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto capsule = context->saved_data["experts"].toCapsule();
    const auto& kept = static_cast<const KeptExperts&>(*capsule);
    const at::Tensor gradient_TD = grad_outputs[0].contiguous();
    const at::Tensor weights_P = kept.weights_TK.flatten();
    at::Tensor weight_gradient_P = at::zeros_like(weights_P);
    float* weight_gradient = weight_gradient_P.mutable_data_ptr<float>();
    std::vector<at::Tensor> input_gradients(kept.outputs.size());
    at::ScalarType type = at::kFloat;
    for (const at::Tensor& output : kept.outputs)
      if (output.defined()) type = output.scalar_type();
    const at::NoGradGuard no_grad;
    for_busy_experts(kept.rows, [&](int64_t e) {
      const auto at = static_cast<size_t>(e);
      const int64_t begin = kept.rows.first[at], count = kept.rows.count(e);
      const at::Tensor above_MD = gather_rows(gradient_TD, kept.rows, e), output = kept.outputs[at].detach();
      const at::Tensor dots_M = (above_MD * output).sum(1, false, at::kFloat);
      at::Tensor scale_M = at::zeros({above_MD.size(0)});
      for (int64_t i = 0; i < count; ++i) {
        const int64_t place = kept.rows.place[static_cast<size_t>(begin + i)];
        weight_gradient[place] = dots_M.const_data_ptr<float>()[i];
        scale_M.mutable_data_ptr<float>()[i] = weights_P.const_data_ptr<float>()[place];
      }
      if (kept.of_input)
        input_gradients[at] = torch::autograd::grad({kept.outputs[at]}, {kept.inputs[at]},
                                                    {(above_MD * scale_M.unsqueeze(1)).to(type)})[0]
                                  .contiguous();
    });
    const at::Tensor input_gradient =
        kept.of_input ? combine(kept.rows, input_gradients, {}, gradient_TD.sizes(), type).to(type) : at::Tensor();
    return {input_gradient, weight_gradient_P.view_as(kept.weights_TK), at::Tensor()};
  }
};

// [M, I] in x's type.
at::Tensor clamped_activation(const at::Tensor& x_MD, const ClampedGate& gate, MatmulBackend backend) {
  const at::Tensor pairs = linear(x_MD, gate.weight_JD, gate.bias_J, backend);
  const int64_t num_rows = pairs.size(0), width = pairs.size(1) / 2;
  if (needs_operations(x_MD)) {
    const at::Tensor both = pairs.view({num_rows, width, 2});
    const at::Tensor g = both.select(-1, 0).clamp_max(gate.limit),
                     u = both.select(-1, 1).clamp(-gate.limit, gate.limit);
    return g * at::sigmoid(g * gate.alpha) * (u + 1);
  }
  at::Tensor out = at::empty({num_rows, width}, pairs.options());
  const auto run = [&](auto* to, const auto* from) {
    kernels::clamped_swiglu(from, static_cast<float>(gate.limit), static_cast<float>(gate.alpha), num_rows, width, to);
  };
  if (pairs.scalar_type() == at::kFloat) run(out.mutable_data_ptr<float>(), pairs.const_data_ptr<float>());
  else
    run(static_cast<kernels::Bf16*>(out.mutable_data_ptr()), static_cast<const kernels::Bf16*>(pairs.const_data_ptr()));
  return out;
}

}  // namespace

at::Tensor expert_output(const at::Tensor& x_MD, const ExpertWeights& w, MatmulBackend backend) {
  if (w.down_DI.device() != x_MD.device())
    return expert_output(x_MD.to(w.down_DI.device()), w, backend).to(x_MD.device());
  if (w.clamped) return linear(clamped_activation(x_MD, *w.clamped, backend), w.down_DI, w.down_bias_D, backend);
  const at::Tensor gate = linear(x_MD, w.gate_ID, w.gate_bias_I, backend);
  const at::Tensor up = linear(x_MD, w.up_ID, w.up_bias_I, backend);
  if (needs_operations(x_MD)) return linear(at::silu(gate) * up, w.down_DI, w.down_bias_D, backend);
  // Both are fresh tensors that nobody else holds.
  if (gate.scalar_type() == at::kFloat)
    kernels::silu_times(gate.mutable_data_ptr<float>(), up.const_data_ptr<float>(), gate.size(0), gate.size(1));
  else
    kernels::silu_times(static_cast<kernels::Bf16*>(gate.mutable_data_ptr()),
                        static_cast<const kernels::Bf16*>(up.const_data_ptr()), gate.size(0), gate.size(1));
  return linear(gate, w.down_DI, w.down_bias_D, backend);
}

at::Tensor routed_output(const at::Tensor& x_TD, const Route& route, int64_t num_experts,
                         const std::function<ExpertWeights(int64_t)>& weights_of, MatmulBackend backend) {
  const ExpertRows rows = group_by_expert(route.ids_TK, num_experts);
  if (!x_TD.is_cpu()) return routed_by_operations(x_TD, route, rows, weights_of, backend);
  if (needs_operations(x_TD) || needs_operations(route.weights_TK))
    return RoutedExperts::apply(x_TD, route.weights_TK, RoutedCall{rows, weights_of, backend});
  std::vector<at::Tensor> outputs(static_cast<size_t>(num_experts));
  for_busy_experts(rows, [&](int64_t e) {
    const at::NoGradGuard no_grad;
    outputs[static_cast<size_t>(e)] = expert_output(gather_rows(x_TD, rows, e), weights_of(e), backend).contiguous();
  });
  return combine(rows, outputs, route.weights_TK, x_TD.sizes(), x_TD.scalar_type());
}

}  // namespace fare
