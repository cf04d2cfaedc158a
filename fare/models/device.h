// Where a model is computed. One rule says where things lie: the weights of a layer, and what passes through it, on the
// layer's device; everything a caller gives or gets (ids, hidden states, logits, routes, records, taps) in host memory.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fare {

// Devices in the order of the layers, which are divided over them in even parts. The embedding is looked up on the
// host; the output head lies on the last one.
using Devices = std::vector<at::Device>;

// Reads "cpu", "cuda" (the first GPU), "cuda:N" or "cuda:N,M,..". `num_cuda`: how many GPUs there are.
// Throws UsageError for anything else, an index given twice, or a GPU that is not there.
Devices parse_devices(const std::string& text, int64_t num_cuda);
// GPUs that this build of LibTorch sees.
int64_t num_cuda_devices();
// As parse_devices reads it.
std::string devices_text(const Devices& devices);

at::Device device_of_layer(const Devices& devices, int64_t layer, int64_t num_layers);

// True where x must go through LibTorch's operations; false where loops over its memory give the same faster: in host
// memory, without a gradient.
inline bool needs_operations(const at::Tensor& x) {
  return !x.is_cpu() || (at::GradMode::is_enabled() && x.requires_grad());
}

}  // namespace fare
