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

std::vector<RoutedExpert> ranked_group(const ExpertScores& scores, int64_t m, const RoutedModel& model, bool from_top) {
  std::vector<const ExpertScore*> ranked;
  for (const ExpertScore& expert : scores.experts) ranked.push_back(&expert);
  std::stable_sort(ranked.begin(), ranked.end(), [&](const ExpertScore* a, const ExpertScore* b) {
    return from_top ? a->combined_rank < b->combined_rank : a->combined_rank > b->combined_rank;
  });
  std::map<int64_t, int64_t> taken;
  std::vector<RoutedExpert> group;
  for (const ExpertScore* expert : ranked) {
    if (static_cast<int64_t>(group.size()) == m) break;
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

std::vector<RoutedExpert> top_group(const ExpertScores& scores, int64_t m, const RoutedModel& model) {
  return ranked_group(scores, m, model, true);
}

std::vector<RoutedExpert> bottom_group(const ExpertScores& scores, int64_t m, const RoutedModel& model) {
  return ranked_group(scores, m, model, false);
}

std::vector<RoutedExpert> random_group(std::span<const RoutedExpert> group, const RoutedModel& model, uint64_t seed,
                                       int64_t draw) {
  const RandomStream stream(seed, "masking/R", static_cast<uint32_t>(draw));
  std::map<int64_t, std::set<int32_t>> own;
  for (const RoutedExpert& expert : group) own[expert.layer].insert(expert.expert);
  const int64_t num_experts = model.router.num_experts;
  std::vector<RoutedExpert> drawn;
  for (const auto& [layer, experts] : own) {
    const bool outside = static_cast<int64_t>(2 * experts.size()) <= num_experts;
    std::vector<int32_t> able;
    for (int32_t e = 0; e < num_experts; ++e)
      if (!outside || !experts.contains(e)) able.push_back(e);
    able = shuffled(able, stream, static_cast<uint64_t>(layer * 2 * num_experts));
    for (size_t i = 0; i < experts.size(); ++i) drawn.push_back({layer, able[i]});
  }
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

Partners usage_partners(std::span<const RoutedExpert> group, const std::map<int64_t, std::vector<double>>& usage,
                        double tolerance) {
  const std::set<RoutedExpert> members(group.begin(), group.end());
  Partners partners;
  for (const RoutedExpert& expert : group) {
    const std::vector<double>& usage_E = usage.at(expert.layer);
    const double own = usage_E[static_cast<size_t>(expert.expert)];
    std::vector<RoutedExpert>& able = partners.emplace_back();
    for (size_t e = 0; e < usage_E.size(); ++e) {
      const RoutedExpert other{expert.layer, static_cast<int32_t>(e)};
      // The slack of rounding: shares of tokens are ratios.
      if (!members.contains(other) && std::abs(usage_E[e] - own) <= tolerance * own + 1e-12) able.push_back(other);
    }
  }
  return partners;
}

std::vector<RoutedExpert> matched_group(const Partners& partners, uint64_t seed, int64_t draw) {
  const RandomStream stream(seed, "masking/U", static_cast<uint32_t>(draw));
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

Intervention mask_intervention(std::span<const RoutedExpert> group, const std::string& name) {
  Intervention intervention;
  intervention.name = name;
  std::map<int64_t, std::vector<int32_t>> by_layer;
  for (const RoutedExpert& expert : group) by_layer[expert.layer].push_back(expert.expert);
  for (auto& [layer, experts] : by_layer) {
    std::sort(experts.begin(), experts.end());
    intervention.edits.push_back({Mask{experts, Mask::Mode::kRefill, true}, {layer}, {}});
  }
  return intervention;
}

AmongDraws place_among(double value, std::span<const double> draws, const std::vector<std::vector<RoutedExpert>>& sets) {
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
