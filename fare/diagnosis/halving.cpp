#include "fare/diagnosis/halving.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "fare/core/philox.h"

namespace fare {
namespace {

bool within(const Standing& standing, double tau_pp, double allowance_in_se) {
  return !standing.drop_pp || *standing.drop_pp <= tau_pp + allowance_in_se * standing.drop_se_pp;
}

}  // namespace

int64_t quarter(int64_t entered, int64_t least) { return std::min(entered, std::max((entered + 3) / 4, least)); }

std::vector<size_t> keep_best(std::span<const Standing> standings, int64_t quota, double tau_pp) {
  std::vector<size_t> order(standings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const Standing &x = standings[a], &y = standings[b];
    return std::tuple(x.no_effect, -x.shift_pp, x.breadth, x.lambda) <
           std::tuple(y.no_effect, -y.shift_pp, y.breadth, y.lambda);
  });
  std::vector<size_t> kept;
  std::set<std::string> keys;
  const auto take = [&](int64_t up_to, bool need_tau) {
    for (const size_t i : order) {
      if (static_cast<int64_t>(kept.size()) >= up_to) return;
      if (need_tau && !within(standings[i], tau_pp, 1)) continue;
      if (!keys.insert(standings[i].key).second) continue;
      kept.push_back(i);
    }
  };
  take((3 * quota + 3) / 4, true);
  take(quota, false);
  std::sort(kept.begin(), kept.end());
  return kept;
}

double most_useful_pp(double base_pp, int64_t pairs) {
  const double share = std::clamp(0.5 + base_pp / 100, 0.0, 1.0);
  return std::max(0.0,
                  base_pp + 100 * std::sqrt(share * (1 - share) / static_cast<double>(std::max<int64_t>(1, pairs))));
}

std::optional<size_t> choose_best(std::span<const Standing> standings, std::optional<double> tau_pp) {
  std::vector<size_t> able;
  for (const bool effective : {true, false}) {
    for (size_t i = 0; i < standings.size(); ++i)
      if (standings[i].no_effect != effective && (!tau_pp || within(standings[i], *tau_pp, 0))) able.push_back(i);
    if (!able.empty()) break;
  }
  if (able.empty()) return std::nullopt;
  const auto useful = [&](size_t i) {
    const Standing& s = standings[i];
    return s.most_pp ? std::min(s.shift_pp, 2 * *s.most_pp - s.shift_pp) : s.shift_pp;
  };
  const size_t best =
      *std::max_element(able.begin(), able.end(), [&](size_t a, size_t b) { return useful(a) < useful(b); });
  const double least = useful(best) - standings[best].shift_se_pp;
  size_t chosen = best;
  const auto rank = [&](size_t i) {
    const Standing& s = standings[i];
    return std::tuple(s.breadth, s.dose_nats.value_or(0), -useful(i));
  };
  for (const size_t i : able)
    if (useful(i) >= least && rank(i) < rank(chosen)) chosen = i;
  return chosen;
}

std::vector<size_t> front_of(std::span<const Standing> standings) {
  std::vector<size_t> order(standings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto drop = [&](size_t i) { return standings[i].drop_pp.value_or(0); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(drop(a), -standings[a].shift_pp) < std::tuple(drop(b), -standings[b].shift_pp);
  });
  std::vector<size_t> front;
  for (const size_t i : order)
    if (front.empty() || standings[i].shift_pp > standings[front.back()].shift_pp) front.push_back(i);
  return front;
}

std::vector<int64_t> balanced_order(std::span<const int64_t> items, std::span<const int32_t> group_of, uint64_t seed,
                                    std::string_view label) {
  const RandomStream stream(seed, label);
  std::map<int32_t, std::vector<std::pair<uint64_t, size_t>>> groups;
  for (size_t i = 0; i < items.size(); ++i)
    groups[group_of[i]].emplace_back(stream.u64(static_cast<uint64_t>(items[i])), i);
  std::vector<std::tuple<double, int32_t, size_t>> places;  // place in [0, 1), group, position
  for (auto& [group, members] : groups) {
    std::sort(members.begin(), members.end());
    for (size_t r = 0; r < members.size(); ++r)
      places.emplace_back((static_cast<double>(r) + 0.5) / static_cast<double>(members.size()), group,
                          members[r].second);
  }
  std::sort(places.begin(), places.end());
  std::vector<int64_t> ordered;
  for (const auto& [place, group, i] : places) ordered.push_back(items[i]);
  return ordered;
}

}  // namespace fare
