// Log-probabilities from hidden states: the output head runs only on rows that are read, in blocks of rows and of the
// vocabulary, so that no tensor of all rows by all tokens exists.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "fare/models/model.h"

namespace fare {

// Asks for log p(token | row).
struct Target {
  int32_t row = 0;
  int32_t token = 0;
};

struct TargetResult {
  double logprob_nats = 0;
  bool is_argmax = false;  // ties: the lower id
};

// h_TD: residual stream after the last layer. Softmax over the whole vocabulary; exponentials in float32, sums in
// binary64. Results in the order of `targets`. Throws NumericError when a logit is NaN or infinite.
std::vector<TargetResult> read_targets(const Model& model, const at::Tensor& h_TD, std::span<const Target> targets);

// log p over the whole vocabulary for some rows: [R, V] float32.
at::Tensor log_probabilities(const Model& model, const at::Tensor& h_TD, std::span<const int32_t> rows);

}  // namespace fare
