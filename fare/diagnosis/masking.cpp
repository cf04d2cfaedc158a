#include "fare/diagnosis/masking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/diagnosis/masking_rules.h"

namespace fare {
namespace {

constexpr double kTolerance = 0.1;  // of usage or routed mass, between an expert and its partner
constexpr double kLeastMatchedShare = 0.8;
constexpr int64_t kModeDraws = 20;       // of U in the other modes, full profile
constexpr int64_t kFewRandomDraws = 20;  // of R in the small profile: no conclusion rests on it

using Groups = std::vector<MaskGroup>;

// Matched draws of one kind, or why there are none.
MaskGroup matched_draws(const std::string& name, const std::string& like, std::span<const RoutedExpert> top, int64_t m,
                        const std::map<int64_t, std::vector<double>>& value, const ExpertSet& apart,
                        const DiagnosisOptions& options) {
  MaskGroup group{.group = name, .m = m};
  const Partners partners = partners_within(top, value, kTolerance, apart);
  const size_t matched = matched_group(partners, options.seed, 0, name).size();
  group.matched_share = static_cast<double>(matched) / static_cast<double>(std::max<size_t>(1, top.size()));
  if (*group.matched_share < kLeastMatchedShare) {
    group.reason = fmt::format("{} of {} experts have a partner of like {} in their layer; 80% are needed", matched,
                               top.size(), like);
    return group;
  }
  for (auto& set : distinct_sets(options.mask_draws,
                                 [&](int64_t draw) { return matched_group(partners, options.seed, draw, name); }))
    group.draws.push_back({.experts = std::move(set)});
  return group;
}

// Every group of one size, mode refill, not yet measured.
Groups draw_groups(const ExpertScores& scores, const std::vector<ExpertScore>& knowledge, const RouterProfile& profile,
                   const RoutedModel& model, int64_t m, bool with_draws, const ExpertSet& apart,
                   const DiagnosisOptions& options) {
  const std::vector<RoutedExpert> top = top_group(scores.experts, m, model, apart);
  Groups groups = {{.group = "T", .m = m}, {.group = "L", .m = m}, {.group = "N", .m = m}};
  groups[0].draws.push_back({.experts = top});
  groups[1].draws.push_back({.experts = bottom_group(scores.experts, m, model, apart)});
  if (knowledge.empty())
    groups[2].reason = "the train split holds no utility item, so no expert is ranked by knowledge";
  else groups[2].draws.push_back({.experts = top_group(knowledge, m, model, apart)});
  if (!with_draws) return groups;
  MaskGroup random{.group = "R", .m = m};
  const int64_t random_draws =
      options.profile == StudyProfile::kSmall ? std::min(kFewRandomDraws, options.mask_draws) : options.mask_draws;
  for (auto& set :
       distinct_sets(random_draws, [&](int64_t draw) { return random_group(top, model, options.seed, draw, apart); }))
    random.draws.push_back({.experts = std::move(set)});
  groups.push_back(std::move(random));
  std::map<int64_t, std::vector<double>> usage, mass;
  for (const LayerProfile& layer : profile.layers) {
    usage[layer.layer] = layer.usage_E;
    mass[layer.layer] = layer.mean_norm_E;
  }
  groups.push_back(matched_draws("U", "usage", top, m, usage, apart, options));
  groups.push_back(matched_draws("C", "routed mass", top, m, mass, apart, options));
  return groups;
}

// One mask that was measured: where its numbers go.
struct PlacedMask {
  std::vector<RoutedExpert> experts;
  std::string mode;
  MaskDraw* draw = nullptr;    // of a group
  MaskGroup* group = nullptr;  // gets intervals where it is fixed
  MaskSubset* subset = nullptr;
};

class TestSplit {
 public:
  TestSplit(Measurer& measurer, const TestOutcomes& test, const std::vector<int>& signs,
            const DiagnosisOptions& options)
      : measurer_(measurer),
        test_(test),
        signs_(signs),
        options_(options),
        base_(at_indices<Margins>(test.base.pairs, test.pairs)),
        base_utility_(at_indices<UtilityOutcome>(test.base.utility, test.utility)) {
    items_.part = "masking";
    items_.pairs = test.pairs;
    items_.utility = test.utility;
  }

  const Items& items() const { return items_; }
  Shift shift(const Outcomes& edited) const {
    return measure_shift(measurer_.study(), test_.pairs, base_, edited.pairs, signs_, MarginScoring::kSum, options_,
                         "masking");
  }
  Drop drop(const Outcomes& edited) const { return drop_from(base_utility_, edited.utility); }
  Drop drop_from(std::span<const UtilityOutcome> base, std::span<const UtilityOutcome> edited) const {
    return measure_drop(measurer_.study(), test_.utility, base, edited, options_, "masking/utility");
  }
  double plain_shift(const Outcomes& edited) const {
    return shift_pp(measurer_.study(), test_.pairs, base_, edited.pairs, signs_);
  }
  std::optional<double> plain_drop(const Outcomes& edited) const {
    return test_.utility.empty() ? std::nullopt : std::optional(drop_pp(base_utility_, edited.utility));
  }

  void fill(const PlacedMask& mask, const Outcomes& edited, const std::optional<double>& dose) const {
    if (mask.draw != nullptr) {
      mask.draw->shift_pp = plain_shift(edited);
      mask.draw->drop_pp = plain_drop(edited);
      mask.draw->dose_nats = dose;
    }
    if (mask.group != nullptr && mask.group->fixed()) {
      mask.group->shift = shift(edited);
      mask.group->drop = drop(edited);
    }
    if (mask.subset != nullptr) {
      mask.subset->shift = shift(edited);
      mask.subset->drop = drop(edited);
      mask.subset->separable = is_separable(mask.subset->shift, mask.subset->drop, options_.thresholds);
    }
  }

  void fill_parts(MaskGroup& group, const ReplayResult& result) const {
    const auto parts = [](double total, double direct, double routing_only) {
      return EffectParts{direct, total - direct, routing_only};
    };
    group.shift_parts =
        parts(plain_shift(result.total), plain_shift(*result.direct), plain_shift(*result.routing_only));
    if (const auto total = plain_drop(result.total))
      group.drop_parts = parts(*total, *plain_drop(*result.direct), *plain_drop(*result.routing_only));
    group.later = result.later;
  }

 private:
  Measurer& measurer_;
  const TestOutcomes& test_;
  const std::vector<int>& signs_;
  const DiagnosisOptions& options_;
  Items items_;
  std::vector<Margins> base_;
  std::vector<UtilityOutcome> base_utility_;
};

// The subset of T that lowers bias most on validation within tau, by adding one expert at a time; empty when none
// lowers it.
std::vector<RoutedExpert> greedy_subset(Measurer& measurer, std::span<const RoutedExpert> top,
                                        const std::vector<int>& signs, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  Items items;
  items.part = "masking/greedy";
  items.pairs = study.pairs_in(SplitPart::kValidation);
  items.utility = study.utility_in(SplitPart::kValidation);
  std::vector<RoutedExpert> chosen, left(top.begin(), top.end());
  double best = 0;
  while (!items.pairs.empty() && !left.empty()) {
    std::vector<Intervention> masks;
    for (const RoutedExpert& expert : left) {
      std::vector<RoutedExpert> group = chosen;
      group.push_back(expert);
      masks.push_back(mask_intervention(group, "greedy"));
    }
    std::vector<const Intervention*> asked = {nullptr};
    for (const Intervention& mask : masks) asked.push_back(&mask);
    const std::vector<Outcomes> outcomes = measurer.evaluate(items, asked);
    std::optional<size_t> step;
    for (size_t i = 0; i < left.size(); ++i) {
      const double shift = shift_pp(study, items.pairs, outcomes[0].pairs, outcomes[i + 1].pairs, signs);
      const bool affordable = items.utility.empty() || drop_pp(outcomes[0].utility, outcomes[i + 1].utility) <=
                                                           options.thresholds.pooled_drop_pp;
      if (affordable && shift > best + 1e-9) best = shift, step = i;
    }
    if (!step) break;
    chosen.push_back(left[*step]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(*step));
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<UtilityOutcome> mean_utility(const std::vector<const Outcomes*>& draws) {
  std::vector<UtilityOutcome> mean(draws.front()->utility.size());
  for (const Outcomes* draw : draws)
    for (size_t i = 0; i < mean.size(); ++i)
      mean[i].correct += draw->utility[i].correct / static_cast<double>(draws.size());
  return mean;
}

std::string expert_name(const RoutedExpert& expert) {
  return fmt::format("expert {} of layer {}", expert.expert, expert.layer);
}

// Every other mode of T, L and N, and in the full profile of draws of U.
void add_modes(Masking& masking, const DiagnosisOptions& options) {
  for (const char* mode : {"renormalize", "zero", "mean", "resample"})
    for (const char* name : {"T", "L", "N", "U"}) {
      MaskGroup group = *masking.find(name);
      if (group.group == "U" && options.profile == StudyProfile::kSmall) continue;
      group.mode = mode;
      if (group.draws.size() > kModeDraws) group.draws.resize(kModeDraws);
      masking.groups.push_back(std::move(group));
    }
}

std::vector<int64_t> sizes_of(const RoutedModel& model, const DiagnosisOptions& options, int64_t& primary) {
  std::vector<int64_t> sizes = mask_sizes(static_cast<int64_t>(model.moe_layers.size()) * model.router.num_experts);
  const int64_t half = static_cast<int64_t>(model.moe_layers.size()) * model.router.num_experts / 2;
  primary = options.mask_size > 0 ? std::min(options.mask_size, half) : sizes.empty() ? 0 : primary_size(sizes);
  if (options.mask_size > 0) {
    if (options.profile == StudyProfile::kSmall) std::erase_if(sizes, [&](int64_t m) { return m > primary; });
    if (std::find(sizes.begin(), sizes.end(), primary) == sizes.end()) sizes.push_back(primary);
  }
  return sizes;
}

}  // namespace

Masking mask_groups(Measurer& measurer, const ExpertScores& scores, const std::vector<ExpertScore>& knowledge,
                    const RouterProfile& profile, const TestOutcomes& test, const std::vector<int>& signs,
                    const DiagnosisOptions& options) {
  Masking masking;
  const RoutedModel& model = measurer.model();
  const bool has_neutral = !measurer.study().neutral.empty();
  const std::vector<int64_t> sizes = sizes_of(model, options, masking.primary_m);
  const ExpertSet apart = super_experts(profile, model.num_layers);
  masking.apart.assign(apart.begin(), apart.end());
  if (sizes.empty() || top_group(scores.experts, 1, model, apart).empty()) {
    masking.primary_m = 0;
    masking.sentence = sizes.empty() ? "The model has fewer than eight routed experts: an eighth of them is no group."
                                     : "Every expert is needed to fill the top k, so none can be masked with refill.";
    masking.additivity_reason = masking.correlation_reason = "no group of experts could be masked";
    return masking;
  }
  for (const int64_t m : sizes)
    for (MaskGroup& group :
         draw_groups(scores, knowledge, profile, model, m,
                     m == masking.primary_m || options.profile == StudyProfile::kFull, apart, options))
      masking.groups.push_back(std::move(group));
  const size_t num_refill = masking.groups.size();
  add_modes(masking, options);
  for (const RoutedExpert& expert : masking.apart)
    masking.groups.push_back({.group = "S", .m = 1, .draws = {{.experts = {expert}}}});

  // Subsets of T: its smaller sizes, its experts, what a greedy search on validation takes, T near demographic tokens.
  const std::vector<RoutedExpert> top = masking.find("T")->draws[0].experts;
  using Kind = MaskSubset::Kind;
  for (const int64_t m : sizes)
    if (m <= masking.primary_m)
      masking.subsets.push_back({.kind = Kind::kTop,
                                 .what = fmt::format("the top {} experts", m),
                                 .experts = top_group(scores.experts, m, model, apart)});
  for (const RoutedExpert& expert : top)
    masking.subsets.push_back({.kind = Kind::kSingle, .what = expert_name(expert), .experts = {expert}});
  if (const auto greedy = greedy_subset(measurer, top, signs, options); greedy.size() > 1)
    masking.subsets.push_back({.kind = Kind::kGreedy,
                               .what = fmt::format("{} experts chosen on validation", greedy.size()),
                               .experts = greedy});
  masking.subsets.push_back({.kind = Kind::kConditional,
                             .what = fmt::format("the top {} experts near demographic words", top.size()),
                             .experts = top});

  // What the scorer can run, all at once; what needs a replay, after it.
  std::vector<PlacedMask> scored, replayed;
  std::vector<ReplayTask> tasks;
  for (MaskGroup& group : masking.groups)
    for (MaskDraw& draw : group.draws) {
      const PlacedMask mask{draw.experts, group.mode, &draw, &group, nullptr};
      if (group.mode != "mean" && group.mode != "resample") {
        scored.push_back(mask);
      } else if (has_neutral) {
        replayed.push_back(mask);
        tasks.push_back({group.mode == "mean" ? ReplayKind::kMean : ReplayKind::kResample, draw.experts});
      }
    }
  for (MaskSubset& subset : masking.subsets) {
    const PlacedMask mask{subset.experts, "refill", nullptr, nullptr, &subset};
    if (subset.kind != Kind::kConditional) {
      scored.push_back(mask);
    } else {
      replayed.push_back(mask);
      tasks.push_back({ReplayKind::kConditional, subset.experts});
    }
  }
  std::vector<Intervention> interventions;
  for (const PlacedMask& mask : scored)
    interventions.push_back(mask_intervention(mask.experts, "mask",
                                              mask.mode == "refill" ? Mask::Mode::kRefill
                                              : mask.mode == "zero" ? Mask::Mode::kZero
                                                                    : Mask::Mode::kRenormalize));
  std::vector<const Intervention*> asked;
  for (const Intervention& intervention : interventions) asked.push_back(&intervention);
  const TestSplit test_split(measurer, test, signs, options);
  const std::vector<Outcomes> outcomes = measurer.evaluate(test_split.items(), asked);
  std::vector<Dose> doses;
  if (has_neutral) doses = measurer.doses(asked, options.neutral_tokens);
  for (size_t i = 0; i < scored.size(); ++i)
    test_split.fill(scored[i], outcomes[i], doses.empty() ? std::nullopt : std::optional(doses[i].kl_nats));

  ReplayOptions replay_options;
  replay_options.seed = options.seed;
  replay_options.neutral_tokens = options.neutral_tokens;
  replay_options.demographic_tokens = demographic_tokens(measurer, measurer.study().pairs_in(SplitPart::kTrain));
  std::vector<MaskGroup*> taken_apart;
  for (const char* name : {"T", "L", "N"})
    for (MaskGroup& group : masking.groups)
      if (group.group == name && group.mode == "refill" && group.m == masking.primary_m && !group.draws.empty()) {
        taken_apart.push_back(&group);
        tasks.push_back({ReplayKind::kRefill, group.draws[0].experts});
      }
  const std::vector<ReplayResult> results = replay(measurer, test_split.items(), tasks, replay_options);
  const std::vector<std::optional<double>> stand_in_dose = stand_in_doses(measurer, tasks, replay_options);
  for (size_t i = 0; i < replayed.size(); ++i) test_split.fill(replayed[i], results[i].total, stand_in_dose[i]);
  for (size_t g = 0; g < taken_apart.size(); ++g) test_split.fill_parts(*taken_apart[g], results[replayed.size() + g]);

  // The same mask, scored and replayed: they must agree.
  const auto outcomes_of = [&](const MaskGroup& group) {
    std::vector<const Outcomes*> list;
    for (size_t i = 0; i < scored.size(); ++i)
      if (scored[i].group == &group) list.push_back(&outcomes[i]);
    return list;
  };
  double gap = 0;
  for (size_t g = 0; g < taken_apart.size(); ++g) {
    const Outcomes& by_score = *outcomes_of(*taken_apart[g]).front();
    const Outcomes& by_replay = results[replayed.size() + g].total;
    for (size_t i = 0; i < by_score.pairs.size(); ++i)
      gap = std::max(gap, std::abs(by_score.pairs[i].sum - by_replay.pairs[i].sum));
  }
  masking.replay_gap_nats = gap;
  for (size_t i = 0; i < masking.groups.size(); ++i) {
    MaskGroup& group = masking.groups[i];
    if (group.shift_parts) continue;
    group.parts_reason = !group.reason.empty() ? group.reason
                         : i < num_refill && group.m != masking.primary_m
                             ? "routes are replayed at the primary size only"
                             : "routes are replayed for T, L and N in mode refill only";
    if (group.draws.empty() || has_neutral || (group.mode != "mean" && group.mode != "resample")) continue;
    group.reason = group.parts_reason = "no neutral text was given, from which outputs could stand in";
    group.draws.clear();
  }

  double sum = 0;
  for (const MaskSubset& subset : masking.subsets)
    if (subset.kind == Kind::kSingle) sum += subset.shift.value_pp;
  masking.additivity_gap_pp = masking.find("T")->draws[0].shift_pp - sum;
  make_tests(masking);
  correlate(masking, [&](const RoutedExpert& expert) {
    return profile.at(expert.layer).mean_norm_E[static_cast<size_t>(expert.expert)];
  });
  // Dearer than the bottom group, T and a matched group alike: then every expert carries both.
  if (!test.utility.empty()) {
    const std::vector<UtilityOutcome>& bottom = outcomes_of(*masking.find("L")).front()->utility;
    const auto dearer = [&](const std::vector<const Outcomes*>& draws) {
      return !draws.empty() && test_split.drop_from(bottom, mean_utility(draws)).interval95.low > 0;
    };
    masking.homogeneous = dearer(outcomes_of(*masking.find("T"))) &&
                          (dearer(outcomes_of(*masking.find("U"))) || dearer(outcomes_of(*masking.find("C"))));
  }
  conclude(masking, options.thresholds);
  return masking;
}

}  // namespace fare
