// What a control model holds, computed from its weights by exact evaluation and checked against what was meant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/lab/control_weights.h"
#include "fare/lab/exact_model.h"
#include "fare/lab/world.h"

namespace fare {

// Preference and accuracy under one mask (without experts: the model as it is).
struct MaskTruth {
  std::string name;
  ExpertMask mask;
  double pct_stereotype = 0;  // of the main pairs, percent
  std::vector<double> pct_by_axis;
  double bias_logit = 0;     // mean over main pairs of x(A, c) - x(B, c), the noise taken off: b at base
  double fact_accuracy = 0;  // share, 0 to 1
  double plain_accuracy = 0;
  double transfer_pct = 0;  // of the transfer pairs; 0 without any
  double changed_pp = 0;    // main pairs whose sign differs from the base's, percent
  double dose_nats = 0;     // mean over neutral tokens of KL(base || masked)
};

// The router's reaction in one layer: mean Jensen-Shannon divergence (bits) over the tokens after the group word.
struct DivergenceTruth {
  double demographic = 0, neutral = 0, same_group = 0;
};

struct Truth {
  std::vector<MaskTruth> masks;             // base first
  std::vector<double> neutral_logit_sd;     // per layer, each token's mean taken off, pooled
  std::vector<DivergenceTruth> divergence;  // per layer, over the first kDivergencePairs main pairs and their nulls
  double drowning = 0;                      // X8: least distance of the tenth neutral word to the higher trait, logits
  std::vector<std::vector<double>> usage_LE;  // share of neutral tokens that choose the expert
  double worst_norm_error = 0;
  double smallest_margin = 0;     // smallest |b + d| of a main pair, logits
  double smallest_route_gap = 0;  // smallest gap between the last chosen and the first left out, as scores
                                  // (softmax of the logits), over every token of every cluster's first pair,
                                  // every question and neutral text
};

inline constexpr int64_t kDivergencePairs = 400;

// The neutral words of `world`: lines of kNeutralWords words drawn from the model's own next-word distribution.
inline constexpr int64_t kNeutralWords = 13;
std::vector<std::vector<int64_t>> neutral_lines(const World& world, const ControlWeights& weights);

// Dose of a mask over the fed tokens of those lines (<s> included, each line's last word left out), nats per token.
double neutral_dose(const World& world, const ControlWeights& weights, const std::vector<std::vector<int64_t>>& lines,
                    const ExpertMask& mask);

// Evaluates every pair, fact and plain item under no mask and under the masks that the recipe's claims are about.
Truth measure_truth(const World& world, const ControlWeights& weights, const std::vector<std::vector<int64_t>>& lines,
                    int threads);

// Throws BrokenInvariant naming the first claim that does not hold: planted preference, effect of the masks, loss of
// facts, the router's reaction, dose of the planted experts in [0.001, 0.005] nats, usage of specialists in [2%, 10%]
// (with 16 to 24 experts), SD of router logits at least 1.5, norms constant to 1e-3, gaps between chosen and left-out
// experts of at least 1e-4.
void check_truth(const World& world, const Truth& truth);

}  // namespace fare
