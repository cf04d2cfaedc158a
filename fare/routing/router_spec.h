// How one layer's router turns logits into a route, as config.json says it.
#pragma once

#include <cstdint>
#include <vector>

namespace fare {

// Mode R: the chosen experts' weights are divided by their sum. Mode U: they stay as they are.
enum class WeightMode { kRenormalised, kRaw };

// All eight families score with a softmax over the E experts in float32 and keep the top k (ties to the lower index).
struct RouterSpec {
  int64_t num_experts = 0;  // E
  int64_t top_k = 0;        // K
  WeightMode weight_mode = WeightMode::kRaw;
  double sum_epsilon = 0;  // mode R divides by max(sum, sum_minimum) + sum_epsilon
  double sum_minimum = 0;
  double scaling_factor = 1;          // multiplies the weights last (after normalisation)
  std::vector<float> selection_bias;  // added to the scores for selection only; empty = none
  // The top k are taken on the logits (GPT-OSS): the same order, but for scores that are equal or 0 in float32.
  bool select_by_logit = false;
  int64_t num_groups = 0;  // group-limited selection: E splits into this many contiguous groups; 0 = off
  int64_t top_groups = 0;  // groups kept (by their best member); scores of the others count as 0
  bool has_shared_expert = false;
};

}  // namespace fare
