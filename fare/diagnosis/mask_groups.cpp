#include "fare/diagnosis/mask_groups.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

std::vector<RoutedExpert> ranked_group(std::span<const ExpertScore> experts, int64_t m, const RoutedModel& model,
                                       const ExpertSet& apart, bool from_top) {
  std::vector<const ExpertScore*> ranked;
  for (const ExpertScore& expert : experts) ranked.push_back(&expert);
  std::stable_sort(ranked.begin(), ranked.end(), [&](const ExpertScore* a, const ExpertScore* b) {
    return from_top ? a->combined_rank < b->combined_rank : a->combined_rank > b->combined_rank;
  });
  std::map<int64_t, int64_t> taken;
  std::vector<RoutedExpert> group;
  for (const ExpertScore* expert : ranked) {
    if (static_cast<int64_t>(group.size()) == m) break;
    if (apart.contains({expert->layer, expert->expert})) continue;
    if (taken[expert->layer] + model.router.top_k >= model.router.num_experts) continue;
    ++taken[expert->layer];
    group.push_back({expert->layer, expert->expert});
  }
  return group;
}

// `items` in an order drawn by `stream`, which spends draws from `first` on.
template <typename T>
std::vector<T> shuffled(std::vector<T> items, const RandomStream& stream, uint64_t first) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[stream.index(first + i, i)]);
  return items;
}

}  // namespace

std::vector<int64_t> mask_sizes(int64_t num_routed_experts) {
  const int64_t largest = num_routed_experts / 8;
  std::set<int64_t> sizes;
  if (largest > 0)
    for (const int64_t m : {2, 5, 10, 20, 50}) sizes.insert(std::min<int64_t>(m, largest));
  return {sizes.begin(), sizes.end()};
}

int64_t primary_size(std::span<const int64_t> sizes) {
  FARE_CHECK(!sizes.empty(), "no group size fits this model");
  int64_t primary = sizes.front();
  for (const int64_t m : sizes)
    if (m <= 10) primary = std::max(primary, m);
  return primary;
}

std::vector<RoutedExpert> top_group(std::span<const ExpertScore> experts, int64_t m, const RoutedModel& model,
                                    const ExpertSet& apart) {
  return ranked_group(experts, m, model, apart, true);
}

std::vector<RoutedExpert> bottom_group(std::span<const ExpertScore> experts, int64_t m, const RoutedModel& model,
                                       const ExpertSet& apart) {
  return ranked_group(experts, m, model, apart, false);
}

ExpertSet super_experts(const RouterProfile& profile, int64_t num_layers) {
  std::vector<double> all;
  for (const LayerProfile& layer : profile.layers)
    all.insert(all.end(), layer.largest_output_E.begin(), layer.largest_output_E.end());
  if (all.empty()) return {};
  std::sort(all.begin(), all.end());
  double limit = std::max(stats::quantile_sorted(all, 0.995), all.back() / 10);
  if (all.size() < 1000) limit = std::max(limit, 10 * stats::quantile_sorted(all, 0.5));
  ExpertSet found;
  for (const LayerProfile& layer : profile.layers)
    for (size_t e = 0; e < layer.largest_output_E.size(); ++e)
      if (4 * layer.layer < 3 * num_layers && layer.largest_output_E[e] > limit)
        found.insert({layer.layer, static_cast<int32_t>(e)});
  return found;
}

std::vector<RoutedExpert> random_group(std::span<const RoutedExpert> group, const RoutedModel& model, uint64_t seed,
                                       int64_t draw, const ExpertSet& apart) {
  const RandomStream stream(seed, "masking/R", static_cast<uint32_t>(draw));
  std::map<int64_t, std::set<int32_t>> own;
  for (const RoutedExpert& expert : group) own[expert.layer].insert(expert.expert);
  const int64_t num_experts = model.router.num_experts;
  std::vector<RoutedExpert> drawn;
  for (const auto& [layer, experts] : own) {
    const bool outside = static_cast<int64_t>(2 * experts.size()) <= num_experts;
    std::vector<int32_t> able;
    for (int32_t e = 0; e < num_experts; ++e)
      if ((!outside || !experts.contains(e)) && !apart.contains({layer, e})) able.push_back(e);
    able = shuffled(able, stream, static_cast<uint64_t>(layer * 2 * num_experts));
    for (size_t i = 0; i < std::min(experts.size(), able.size()); ++i) drawn.push_back({layer, able[i]});
  }
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

Partners partners_within(std::span<const RoutedExpert> group, const std::map<int64_t, std::vector<double>>& value,
                         double tolerance, const ExpertSet& apart) {
  const std::set<RoutedExpert> members(group.begin(), group.end());
  Partners partners;
  for (const RoutedExpert& expert : group) {
    const std::vector<double>& value_E = value.at(expert.layer);
    const double own = value_E[static_cast<size_t>(expert.expert)];
    std::vector<RoutedExpert>& able = partners.emplace_back();
    for (size_t e = 0; e < value_E.size(); ++e) {
      const RoutedExpert other{expert.layer, static_cast<int32_t>(e)};
      // The slack of rounding: shares of tokens are ratios.
      if (!members.contains(other) && !apart.contains(other) && std::abs(value_E[e] - own) <= tolerance * own + 1e-12)
        able.push_back(other);
    }
  }
  return partners;
}

std::vector<RoutedExpert> matched_group(const Partners& partners, uint64_t seed, int64_t draw,
                                        const std::string& name) {
  const RandomStream stream(seed, "masking/" + name, static_cast<uint32_t>(draw));
  std::vector<size_t> order(partners.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  order = shuffled(order, stream, 0);
  uint64_t next = order.size() + 1;
  Partners able(partners.size());
  for (size_t i = 0; i < partners.size(); ++i) {
    able[i] = shuffled(partners[i], stream, next);
    next += partners[i].size() + 1;
  }
  std::map<RoutedExpert, size_t> stands_for;
  std::set<RoutedExpert> visited;
  // Finds a partner for group expert i, moving others to another partner where that makes room.
  const std::function<bool(size_t)> place = [&](size_t i) {
    for (const RoutedExpert& partner : able[i]) {
      if (!visited.insert(partner).second) continue;
      const auto found = stands_for.find(partner);
      if (found != stands_for.end() && !place(found->second)) continue;
      stands_for[partner] = i;
      return true;
    }
    return false;
  };
  for (const size_t i : order) {
    visited.clear();
    place(i);
  }
  std::vector<RoutedExpert> matched;
  for (const auto& [partner, i] : stands_for) matched.push_back(partner);
  return matched;
}

std::vector<std::vector<RoutedExpert>> distinct_sets(int64_t count,
                                                     const std::function<std::vector<RoutedExpert>(int64_t)>& draw) {
  std::vector<std::vector<RoutedExpert>> sets;
  std::set<std::vector<RoutedExpert>> seen;
  for (int64_t i = 0; i < 10 * count && static_cast<int64_t>(sets.size()) < count; ++i) {
    std::vector<RoutedExpert> one = draw(i);
    if (seen.insert(one).second) sets.push_back(std::move(one));
  }
  return sets;
}

Intervention mask_intervention(std::span<const RoutedExpert> group, const std::string& name, Mask::Mode mode) {
  Intervention intervention;
  intervention.name = name;
  std::map<int64_t, std::vector<int32_t>> by_layer;
  for (const RoutedExpert& expert : group) by_layer[expert.layer].push_back(expert.expert);
  for (auto& [layer, experts] : by_layer) {
    std::sort(experts.begin(), experts.end());
    intervention.edits.push_back({Mask{experts, mode, mode == Mask::Mode::kRefill}, {layer}, {}});
  }
  return intervention;
}

AmongDraws place_among(double value, std::span<const double> draws,
                       const std::vector<std::vector<RoutedExpert>>& sets) {
  FARE_CHECK(draws.size() == sets.size(), "one set per draw");
  std::set<std::vector<RoutedExpert>> seen;
  std::vector<double> distinct;
  for (size_t i = 0; i < draws.size(); ++i)
    if (seen.insert(sets[i]).second) distinct.push_back(draws[i]);
  AmongDraws place;
  place.distinct_sets = static_cast<int64_t>(distinct.size());
  int64_t extreme = 0;
  for (const double draw : distinct) extreme += draw >= value - 1e-12;
  place.p = static_cast<double>(1 + extreme) / static_cast<double>(1 + distinct.size());
  const auto sd = stats::sample_sd(distinct);
  if (!sd) place.reason = "fewer than two distinct sets were drawn";
  else if (*sd <= 1e-12) place.reason = "the draws do not vary";
  else place.z = (value - *stats::mean(distinct)) / *sd;
  return place;
}

}  // namespace fare
