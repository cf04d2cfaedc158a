#include "fare/models/linear.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <chrono>
#include <limits>

namespace fare {
namespace {

using PointwiseSchema = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                   c10::string_view, c10::List<std::optional<at::Scalar>>,
                                   std::optional<c10::string_view>);

// oneDNN's inner product is registered as an operator but has no C++ header.
at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<PointwiseSchema>();
  const std::optional<at::Tensor> maybe_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return op.call(x, weight, maybe_bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

// oneDNN prepares each product anew for a number of rows that it has not seen, up to a millisecond. For weights of
// fewer elements than this (256 x 256) that takes longer than the product.
constexpr int64_t kNarrowElements = 1 << 16;
constexpr int64_t kMostRows = 256;

// The rows in blocks of few sizes, which are all prepared soon: powers of two, and 3 where a single row would be left
// (one row alone takes another path, whose sums differ in the last bit). 128 x 80 weights, 20 to 500 rows: 121
// microseconds, 313 in one piece.
at::Tensor in_blocks(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t num_rows = x.size(0);
  const auto block = [](int64_t left) {
    int64_t size = left;
    if (left > 3)
      for (size = kMostRows; size > left || left - size == 1;) size /= 2;
    return size;
  };
  if (block(num_rows) == num_rows) return onednn_linear(x, weight, bias);
  const at::Tensor out = at::empty({num_rows, weight.size(0)}, x.options());
  for (int64_t begin = 0; begin < num_rows;) {
    const int64_t size = block(num_rows - begin);
    out.narrow(0, begin, size).copy_(onednn_linear(x.narrow(0, begin, size), weight, bias));
    begin += size;
  }
  return out;
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, MatmulBackend backend) {
  if (x.size(0) == 0) return at::empty({0, weight.size(0)}, x.options());
  if (x.device().is_cpu() && (backend == MatmulBackend::kOneDnn || x.scalar_type() == at::kBFloat16)) {
    const at::Tensor rows = x.contiguous();
    return weight.numel() < kNarrowElements ? in_blocks(rows, weight, bias) : onednn_linear(rows, weight, bias);
  }
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

// What the product does not get a gradient for; kept out of autograd's sight, which cannot take undefined tensors.
struct Operands {
  at::Tensor weight, bias;
  MatmulBackend backend;
};

class ActivationOnlyLinear : public torch::autograd::Function<ActivationOnlyLinear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const Operands& operands) {
    context->saved_data["weight"] = operands.weight;
    context->saved_data["backend"] = static_cast<int64_t>(operands.backend);
    return product(x, operands.weight, operands.bias, operands.backend);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const at::Tensor weight = context->saved_data["weight"].toTensor();
    const auto backend = static_cast<MatmulBackend>(context->saved_data["backend"].toInt());
    return {product(grad_outputs[0].contiguous(), weight.t(), {}, backend), at::Tensor()};
  }
};

double seconds_of(MatmulBackend backend, const at::Tensor& x, const at::Tensor& weight) {
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 4; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    product(x, weight, {}, backend);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

std::string backend_name(MatmulBackend backend) { return backend == MatmulBackend::kMkl ? "mkl" : "onednn"; }

MatmulBackend faster_backend() {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::ones({256, 1024}), weight = at::ones({512, 1024});
  return seconds_of(MatmulBackend::kOneDnn, x, weight) <= seconds_of(MatmulBackend::kMkl, x, weight)
             ? MatmulBackend::kOneDnn
             : MatmulBackend::kMkl;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, MatmulBackend backend) {
  if (at::GradMode::is_enabled() && x.requires_grad())
    return ActivationOnlyLinear::apply(x, Operands{weight, bias, backend});
  return product(x, weight, bias, backend);
}

}  // namespace fare
