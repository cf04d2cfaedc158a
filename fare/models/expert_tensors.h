// Where the experts' matrices lie: one tensor per expert (the published layout) or all experts of a layer fused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/models/experts.h"
#include "fare/models/weights.h"

namespace fare {

struct ExpertTensors {
  std::string prefix;                                                  // "model.layers.3.mlp.experts."
  std::string gate = "gate_proj", up = "up_proj", down = "down_proj";  // per-expert names
  std::string fused_prefix;    // where the fused tensors would be, if elsewhere; empty = prefix
  bool may_have_bias = false;  // a bias that lies beside an expert's matrix is used

  std::string gate_up_name() const { return fused() + "gate_up_proj"; }
  std::string down_name() const { return fused() + "down_proj"; }
  // True when this layer's experts are stored as gate_up_proj [E, 2I, D] (gate rows first) and down_proj [E, D, I].
  bool is_fused(const Weights& weights) const { return weights.has(gate_up_name()); }

  std::vector<TensorSlot> slots(const Weights& weights, int64_t num_experts, int64_t width, int64_t hidden) const;
  ExpertWeights read(const Weights& weights, int64_t expert, int64_t width, int64_t hidden) const;

 private:
  bool has_bias(const Weights& weights, const std::string& name) const {
    return may_have_bias && weights.has(name + ".bias");
  }
  const std::string& fused() const { return fused_prefix.empty() ? prefix : fused_prefix; }
};

}  // namespace fare
