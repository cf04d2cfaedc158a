// Which experts are masked together (methods A8): top, bottom, random and usage-matched groups. Pure: no model runs here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fare/diagnosis/expert_scores.h"
#include "fare/routing/intervention.h"

namespace fare {

struct RoutedExpert {
  int64_t layer = 0;
  int32_t expert = 0;
  auto operator<=>(const RoutedExpert&) const = default;
};

// Sizes of groups: 2, 5, 10, 20 and 50, clipped to an eighth of the routed experts, doubles dropped; empty when there are
// fewer than 8.
std::vector<int64_t> mask_sizes(int64_t num_routed_experts);

// The size the tests are made at: the largest of `sizes` that is at most 10. `sizes` must not be empty.
int64_t primary_size(std::span<const int64_t> sizes);

// First (top) or last (bottom) m experts by combined rank. A layer gives at most E - top_k, so that refill still finds
// top_k others; further ones of that layer are passed over.
std::vector<RoutedExpert> top_group(const ExpertScores& scores, int64_t m, const RoutedModel& model);
std::vector<RoutedExpert> bottom_group(const ExpertScores& scores, int64_t m, const RoutedModel& model);

// The same number of experts per layer as `group`, drawn by the stream (seed, "masking/R", draw); outside the group where
// a layer has enough others, else from the whole layer. Sorted.
std::vector<RoutedExpert> random_group(std::span<const RoutedExpert> group, const RoutedModel& model, uint64_t seed,
                                       int64_t draw);

// Per expert of a group, the experts outside the group, of the same layer, whose usage differs from its own by at most
// `tolerance` of its own. `usage`: per layer, share of tokens per expert.
using Partners = std::vector<std::vector<RoutedExpert>>;
Partners usage_partners(std::span<const RoutedExpert> group, const std::map<int64_t, std::vector<double>>& usage,
                        double tolerance);

// A largest set of partners, no expert standing for two (bipartite matching), with choices in an order drawn by
// (seed, "masking/U", draw); a group expert that stays without one is left out. Sorted.
std::vector<RoutedExpert> matched_group(const Partners& partners, uint64_t seed, int64_t draw);

// Masks the experts with refill; the sum of the weights is kept.
Intervention mask_intervention(std::span<const RoutedExpert> group, const std::string& name);

// Place of a value among draws: z score and p = (1 + #draws at least as large) / (1 + draws), over distinct sets.
struct AmongDraws {
  std::optional<double> z;  // none: fewer than 2 draws or no variance
  double p = 1;
  int64_t distinct_sets = 0;
  std::string reason;       // why z is undefined
};
AmongDraws place_among(double value, std::span<const double> draws, const std::vector<std::vector<RoutedExpert>>& sets);

}  // namespace fare
