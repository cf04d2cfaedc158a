// Outputs in the place of experts' own: masks of the modes mean and resample.
// Shapes: N stored outputs, D width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>

namespace fare {

// By layer and expert: [N, D] float32, contiguous, on the CPU. A token takes one of the N by a draw of (seed,
// "masking/resample", layer, expert, its position in its text); N = 1 is a constant.
struct StandIns {
  std::map<int64_t, std::map<int32_t, at::Tensor>> outputs_ND;
  uint64_t seed = 0;

  // The D numbers of that draw; they live as long as outputs_ND.
  const float* drawn(int64_t layer, int32_t expert, int64_t position) const;
};

// A chosen expert that does not run, and what is added in the place of its output.
struct Replaced {
  int64_t row = 0;
  int32_t expert = 0;
  float weight = 0;
  const float* output_D = nullptr;  // of the edit's StandIns, which must live as long
};

}  // namespace fare
