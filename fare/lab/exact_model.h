// The forward pass of a control model in double precision, from the float32 weights that are written: a second,
// independent opinion on what the construction planted. Only for models of control_weights.h: attention is a uniform
// average.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fare/lab/control_weights.h"

namespace fare {

// Experts that may not be chosen, the same in each of these layers: their logits count as minus infinity (mask with
// refill).
struct ExpertMask {
  std::vector<int64_t> layers;
  std::vector<int64_t> experts;
  bool keep_sum = false;      // rescale the weights to the sum they have without the mask
  bool replay_later = false;  // layers after the masked ones take the routes they take without the mask
};

struct ExactRoute {
  std::vector<double> logits_E;
  double weight_sum = 0;          // of the chosen
  std::vector<int64_t> ids_K;     // by falling logit, ties to the lower index
  std::vector<double> weights_K;  // as they multiply the outputs
};

struct ExactResult {
  std::vector<double> logits_V;
  std::vector<ExactRoute> routes;  // per layer
  double norm_error = 0;           // largest |rest|^2 / (2 C^2) met in a norm at this position
};

class ExactModel {
 public:
  // Borrows the weights: they must outlive the model.
  explicit ExactModel(const ControlWeights& weights);

  // The last position of `ids` (with <s> in front). Throws BrokenInvariant if it is empty.
  ExactResult at_last(std::span<const int64_t> ids, const ExpertMask& mask = {}) const;

 private:
  const ControlWeights& weights_;
};

// Natural-log softmax value of one entry.
double log_softmax_at(std::span<const double> logits, int64_t index);

}  // namespace fare
