// What the router does on neutral text, layer by layer (methods A2).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"

namespace fare {

struct LayerProfile {
  int64_t layer = 0;
  int64_t tokens = 0;
  double load_entropy = 0;  // of the experts' load, over log E
  double load_gini = 0;
  double topk_mass = 0;                  // mean score mass of the chosen experts
  double router_entropy = 0;             // mean over tokens, over log E
  double uncertain_share = 0;            // tokens whose normalised router entropy exceeds 0.9
  double boundary_margin = 0;            // mean of z_(k) - z_(k+1); 0 tokens at k = E are left out
  double logit_sd = 0;                   // sigma_l: SD of z over tokens and experts after taking off each token's mean
  std::optional<double> shared_share;    // ||y_sh|| / (||y_sh|| + ||y_r||); none without shared experts
  std::vector<double> usage_E;           // share of tokens that select each expert
  std::vector<double> mean_gate_E;       // mean weight, 0 when unselected
  std::vector<double> mean_norm_E;       // mean of weight * ||E_e(x)||
  std::vector<double> largest_output_E;  // largest absolute entry of E_e(x) over the tokens that chose it; 0 for none
};

struct RouterProfile {
  int64_t tokens = 0;
  std::vector<LayerProfile> layers;  // MoE layers, ascending

  const LayerProfile& at(int64_t layer) const;
};

// Over at most 200,000 tokens of neutral text.
RouterProfile profile_router(Measurer& measurer);

OrderedJson router_profile_json(const RouterProfile& profile);

}  // namespace fare
