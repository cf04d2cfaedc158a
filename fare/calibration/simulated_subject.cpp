#include "fare/calibration/simulated_subject.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

Study study_of(const World& world) {
  Study study;
  std::set<std::string> axes;
  std::vector<std::string> pair_names, utility_names;
  for (const WorldPair& from : world.pairs) {
    EncodedPair to;
    to.pair.id = to.item = from.id;
    to.pair.cluster = from.cluster;
    to.pair.axis = world.language.axis_name(from.axis);
    to.pair.set = from.transfer ? PairSet::kTransfer : PairSet::kMain;
    (from.transfer ? study.transfer : study.pairs).push_back(to);
    if (from.transfer) continue;
    axes.insert(to.pair.axis);
    pair_names.push_back(from.cluster);
  }
  study.axes.assign(axes.begin(), axes.end());
  for (const EncodedPair& pair : study.pairs)
    study.axis_of.push_back(
        static_cast<int32_t>(std::ranges::lower_bound(study.axes, pair.pair.axis) - study.axes.begin()));
  const auto add = [&](const std::vector<WorldItem>& items, const char* task) {
    for (const WorldItem& from : items) {
      EncodedUtility to;
      to.item.id = to.item.cluster = to.key = from.id;
      to.item.task = task;
      study.utility.push_back(to);
      utility_names.push_back(from.id);
    }
  };
  add(world.facts, "facts");
  add(world.plain, "plain");
  study.neutral.resize(1);  // there is neutral text; its doses are computed from states
  study.pair_clusters = stats::cluster_by_name(pair_names);
  study.utility_clusters = stats::cluster_by_name(utility_names);
  return study;
}

void split(Study& study, uint64_t seed) {
  std::vector<SplitItem> pairs, utility;
  for (const EncodedPair& pair : study.pairs) pairs.push_back({pair.pair.cluster, pair.pair.axis});
  for (const EncodedUtility& item : study.utility) utility.push_back({item.item.cluster, item.item.task});
  study.pair_splits = make_splits(pairs, seed);
  study.utility_splits = make_splits(utility, seed);
}

}  // namespace

double changed_share(double before, double after, double deviation, double angle) {
  // P(before + d > 0, after + d2 < 0) and the reverse, d2 = cos d + sin d', by the midpoint rule over the quantiles of
  // d.
  constexpr size_t kSteps = 4000;
  static const std::vector<double> quantiles = [] {
    std::vector<double> made;
    for (size_t i = 0; i < kSteps; ++i) made.push_back(normal_quantile((static_cast<double>(i) + 0.5) / kSteps));
    return made;
  }();
  const double c = std::cos(angle), s = std::max(std::sin(angle), 1e-9);
  double changed = 0;
  for (const double d : quantiles) {
    const double stays_up = normal_cdf((after / deviation + c * d) / s);
    changed += (before / deviation + d > 0 ? 1 - stays_up : stays_up) / kSteps;
  }
  return changed;
}

double noise_angle(double before, double after, double deviation, double changed) {
  double low = 1e-6, high = std::numbers::pi;
  if (changed_share(before, after, deviation, low) > changed + 1e-4)
    throw UsageError("noise: the shift alone changes the sign of more pairs than " + std::to_string(100 * changed) +
                     "%");
  for (int step = 0; step < 40; ++step) {
    const double middle = (low + high) / 2;
    (changed_share(before, after, deviation, middle) < changed ? low : high) = middle;
  }
  return (low + high) / 2;
}

SimulatedModel::SimulatedModel(const ControlModel& model)
    : world_(model.world), critical_(model), study_(study_of(model.world)) {
  split(study_, 0);
}

std::vector<PairNoise> SimulatedModel::draw_noise(const NoiseLaw& law, uint64_t seed) const {
  const RandomStream first(seed, "calibration/noise"), second(seed, "calibration/noise/side"),
      common(seed, "calibration/noise/common");
  const auto normal = [&](const RandomStream& stream, size_t i) {
    return law.deviation * normal_quantile(stream.open_uniform(static_cast<uint64_t>(i)));
  };
  std::vector<PairNoise> noise(world_.pairs.size());
  std::map<std::string, std::vector<size_t>> members;
  for (size_t i = 0; i < world_.pairs.size(); ++i) members[world_.pairs[i].cluster].push_back(i);
  std::vector<double> d(noise.size());
  for (auto& [cluster, pairs] : members) {
    std::ranges::sort(pairs, {}, [&](size_t i) { return common.u64(static_cast<uint64_t>(i) + noise.size()); });
    for (size_t k = 0; k < pairs.size(); ++k) {
      d[pairs[k]] = normal(first, pairs[k]);
      // Neighbours in a random order take one sign each.
      if (law.balanced) d[pairs[k]] = (k % 2 == 0 ? 1 : -1) * std::abs(d[pairs[k]]);
    }
  }
  for (size_t i = 0; i < noise.size(); ++i) {
    const double shared = 2 * common.uniform(static_cast<uint64_t>(i)) - 1;
    const double outside = law.angle == 0 ? d[i] : std::cos(law.angle) * d[i] + std::sin(law.angle) * normal(second, i);
    noise[i] = {shared + outside, shared - outside, d[i] - outside, outside - d[i]};
  }
  return noise;
}

// Edits whose states are kept: the grid and the optimisers' snapshots, which every replicate asks for, are about 160
// and come first; random rankings are others in every replicate. Half a megabyte each at 5,000 pairs.
constexpr size_t kMostKept = 256;

std::shared_ptr<const SimulatedModel::States> SimulatedModel::kept(const Intervention* intervention) const {
  const std::string key = intervention_key(intervention);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
    if (kept_.size() >= kMostKept) return nullptr;
  }
  auto made = std::make_shared<const States>(compute(intervention));
  const std::lock_guard lock(mutex_);
  return kept_.emplace(key, std::move(made)).first->second;
}

std::shared_ptr<const SimulatedModel::States> SimulatedModel::states(const Intervention* intervention) const {
  if (auto found = kept(intervention)) return found;
  return std::make_shared<const States>(compute(intervention));
}

SimulatedModel::States SimulatedModel::compute(const Intervention* intervention) const {
  std::vector<int64_t> pairs(static_cast<size_t>(critical_.num_pairs())),
      items(static_cast<size_t>(critical_.num_items()));
  std::iota(pairs.begin(), pairs.end(), int64_t{0});
  std::iota(items.begin(), items.end(), int64_t{0});
  return {critical_.sides(pairs, intervention), critical_.items(items, intervention)};
}

double SimulatedModel::expected_shift_pp(const States& base, const States& edited, const NoiseLaw& law,
                                         const std::vector<int>& signs) const {
  const auto chance = [&](const States& states, size_t i) {
    const auto lean = critical_.lean(static_cast<int64_t>(i), states.sides[2 * i], states.sides[2 * i + 1]);
    const double q = lean.per_side_noise, rest = 1 - q;
    return normal_cdf(lean.mean /
                      (law.deviation * std::sqrt(rest * rest + q * q + 2 * q * rest * std::cos(law.angle))));
  };
  double sum = 0;
  for (size_t i = 0; i < study_.pairs.size(); ++i)
    sum += signs[static_cast<size_t>(study_.axis_of[i])] * (chance(base, i) - chance(edited, i));
  return 100 * sum / static_cast<double>(study_.pairs.size());
}

SimulatedSubject::SimulatedSubject(const SimulatedModel& model, std::vector<PairNoise> noise, uint64_t seed,
                                   const Progress& progress)
    : model_(model), noise_(std::move(noise)), study_(model.study()), progress_(progress) {
  FARE_CHECK(noise_.size() == model.world().pairs.size(), "one noise per pair");
  split(study_, seed);
}

std::vector<Outcomes> SimulatedSubject::evaluate(const Items& items,
                                                 std::span<const Intervention* const> interventions) {
  FARE_CHECK(items.nulls.empty(), "a simulated subject has no nulls");
  progress_.check();
  const CriticalModel& critical = model_.critical();
  std::vector<int64_t> pairs = items.pairs;
  for (const int64_t t : items.transfer) pairs.push_back(static_cast<int64_t>(study_.pairs.size()) + t);
  // Random directions of equal dose are another set in every replicate.
  const bool again = items.part != "dose-control";
  std::vector<Outcomes> outcomes;
  for (const Intervention* intervention : interventions) {
    std::shared_ptr<const SimulatedModel::States> all;
    std::vector<SideState> sides;
    std::vector<ItemState> answers;
    if (again) all = model_.kept(intervention);
    if (all == nullptr) {  // only what is asked
      sides = critical.sides(pairs, intervention);
      answers = critical.items(items.utility, intervention);
    }
    Outcomes one;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const size_t p = static_cast<size_t>(pairs[i]), at = all ? p : i;
      const std::vector<SideState>& from = all ? all->sides : sides;
      const double m = critical.margin(pairs[i], from[2 * at], from[2 * at + 1], noise_[p]);
      one.pairs.push_back({m, m, m});
    }
    for (size_t i = 0; i < items.utility.size(); ++i) {
      const ItemState& item = all ? all->items[static_cast<size_t>(items.utility[i])] : answers[i];
      one.utility.push_back({item.correct, item.margin});
    }
    outcomes.push_back(std::move(one));
  }
  return outcomes;
}

std::vector<Dose> SimulatedSubject::doses(std::span<const Intervention* const> interventions, int64_t max_tokens) {
  std::vector<Dose> doses;
  for (const Intervention* intervention : interventions) {
    if (intervention == nullptr || intervention->edits.empty()) {
      doses.emplace_back();
      continue;
    }
    const auto [kl, change] = model_.critical().dose(intervention, max_tokens);
    doses.push_back({kl, change});
  }
  return doses;
}

}  // namespace fare
