// The one matrix product with a weight: y = x W^T + b, forward through the chosen backend, gradient to x only.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace fare {

// Which library multiplies float32 matrices. bfloat16 always goes through oneDNN.
enum class MatmulBackend { kMkl, kOneDnn };

std::string backend_name(MatmulBackend backend);

// Measures both on a typical product with the current number of threads and returns the faster one.
MatmulBackend faster_backend();

// x [M, in], weight [out, in], bias [out] or undefined, all of one dtype (float32 or bfloat16). Returns [M, out].
// Differentiable in x; weights never get a gradient.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, MatmulBackend backend);

}  // namespace fare
