// Which experts are masked together (methods A8): top, bottom, random and matched groups. Pure: no model runs here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
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

// Sizes of groups: 2, 5, 10, 20 and 50, clipped to an eighth of the routed experts, doubles dropped; empty when there
// are fewer than 8.
std::vector<int64_t> mask_sizes(int64_t num_routed_experts);

// The size the tests are made at: the largest of `sizes` that is at most 10. `sizes` must not be empty.
int64_t primary_size(std::span<const int64_t> sizes);

// First (top) or last (bottom) m experts by combined rank, those `apart` passed over. A layer gives at most E - top_k
// less its experts apart, so that refill still finds top_k others; further ones of that layer are passed over.
using ExpertSet = std::set<RoutedExpert>;
std::vector<RoutedExpert> top_group(std::span<const ExpertScore> experts, int64_t m, const RoutedModel& model,
                                    const ExpertSet& apart = {});
std::vector<RoutedExpert> bottom_group(std::span<const ExpertScore> experts, int64_t m, const RoutedModel& model,
                                       const ExpertSet& apart = {});

// Super experts (methods D4): largest output above the 99.5th percentile of all and above a tenth of the largest, in
// the first three quarters of the model's layers; with fewer than 1,000 experts also above ten medians. They carry
// activations that everything else rests on, so they are in no group.
ExpertSet super_experts(const RouterProfile& profile, int64_t num_layers);

// The same number of experts per layer as `group`, drawn by the stream (seed, "masking/R", draw); outside the group
// where a layer has enough others, else from the whole layer. Sorted.
std::vector<RoutedExpert> random_group(std::span<const RoutedExpert> group, const RoutedModel& model, uint64_t seed,
                                       int64_t draw, const ExpertSet& apart = {});

// Per expert of a group, the experts outside the group and not apart, of the same layer, whose value differs from its
// own by at most `tolerance` of its own. `value`: per layer, of each expert: share of tokens (U) or routed mass (C).
using Partners = std::vector<std::vector<RoutedExpert>>;
Partners partners_within(std::span<const RoutedExpert> group, const std::map<int64_t, std::vector<double>>& value,
                         double tolerance, const ExpertSet& apart = {});

// A largest set of partners, no expert standing for two (bipartite matching), with choices in an order drawn by
// (seed, "masking/" + `name`, draw); a group expert that stays without one is left out. Sorted.
std::vector<RoutedExpert> matched_group(const Partners& partners, uint64_t seed, int64_t draw,
                                        const std::string& name = "U");

// Up to `count` different sets out of draw(0), draw(1), ..; gives up after ten times as many draws.
std::vector<std::vector<RoutedExpert>> distinct_sets(int64_t count,
                                                     const std::function<std::vector<RoutedExpert>(int64_t)>& draw);

// Masks the experts; with refill the sum of the weights is kept.
Intervention mask_intervention(std::span<const RoutedExpert> group, const std::string& name,
                               Mask::Mode mode = Mask::Mode::kRefill);

// Place of a value among draws: z score and p = (1 + #draws at least as large) / (1 + draws), over distinct sets.
struct AmongDraws {
  std::optional<double> z;  // none: fewer than 2 draws or no variance
  double p = 1;
  int64_t distinct_sets = 0;
  std::string reason;  // why z is undefined
};
AmongDraws place_among(double value, std::span<const double> draws, const std::vector<std::vector<RoutedExpert>>& sets);

}  // namespace fare
