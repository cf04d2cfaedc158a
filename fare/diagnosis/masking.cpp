#include "fare/diagnosis/masking.h"

#include <fmt/format.h>

#include <algorithm>

#include "fare/diagnosis/null_fields.h"
#include "fare/stats/moments.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr double kUsageTolerance = 0.1;
constexpr double kLeastMatchedShare = 0.8;
constexpr int64_t kLeastDistinctSets = 39;  // below this p <= 0.05 / 2 cannot be reached

std::vector<MaskGroup> draw_groups(const ExpertScores& scores, const RouterProfile& profile, const RoutedModel& model,
                                   int64_t m, bool with_draws, const DiagnosisOptions& options) {
  std::map<int64_t, std::vector<double>> usage;
  for (const LayerProfile& layer : profile.layers) usage[layer.layer] = layer.usage_E;
  const std::vector<RoutedExpert> top = top_group(scores, m, model);
  MaskGroup t{.group = "T", .m = m}, l{.group = "L", .m = m}, r{.group = "R", .m = m}, u{.group = "U", .m = m};
  t.draws.push_back({.experts = top});
  l.draws.push_back({.experts = bottom_group(scores, m, model)});
  std::vector<MaskGroup> groups = {t, l};
  if (with_draws) {
    for (int64_t draw = 0; draw < options.mask_draws; ++draw)
      r.draws.push_back({.experts = random_group(top, model, options.seed, draw)});
    const Partners partners = usage_partners(top, usage, kUsageTolerance);
    const size_t matched = matched_group(partners, options.seed, 0).size();
    u.matched_share = static_cast<double>(matched) / static_cast<double>(std::max<size_t>(1, top.size()));
    if (*u.matched_share < kLeastMatchedShare)
      u.reason = fmt::format("{} of {} experts have a partner of like usage in their layer; 80% are needed", matched,
                             top.size());
    else
      for (int64_t draw = 0; draw < options.mask_draws; ++draw)
        u.draws.push_back({.experts = matched_group(partners, options.seed, draw)});
    groups.push_back(r);
    groups.push_back(u);
  }
  return groups;
}

std::vector<double> shifts_of(const MaskGroup& group) {
  std::vector<double> values;
  for (const MaskDraw& draw : group.draws) values.push_back(draw.shift_pp);
  return values;
}

std::vector<double> drops_of(const MaskGroup& group) {
  std::vector<double> values;
  for (const MaskDraw& draw : group.draws)
    if (draw.drop_pp) values.push_back(*draw.drop_pp);
  return values;
}

const MaskGroup* find_group(const Masking& masking, const std::string& name, int64_t m) {
  for (const MaskGroup& group : masking.groups)
    if (group.group == name && group.m == m) return &group;
  return nullptr;
}

void make_tests(Masking& masking) {
  const MaskGroup& top = *find_group(masking, "T", masking.primary_m);
  for (const char* name : {"U", "R"}) {
    const MaskGroup* group = find_group(masking, name, masking.primary_m);
    std::vector<std::vector<RoutedExpert>> sets;
    for (const MaskDraw& draw : group->draws) sets.push_back(draw.experts);
    const bool has_drops = top.draws[0].drop_pp.has_value();
    MaskTest drop{.name = fmt::format("drop of T among {}", name)}, shift{.name = fmt::format("shift of T among {}", name)};
    if (group->draws.empty()) drop.reason = shift.reason = group->reason;
    else shift.place = place_among(top.draws[0].shift_pp, shifts_of(*group), sets);
    if (drop.reason.empty() && !has_drops) drop.reason = "the test split holds no utility item";
    if (drop.reason.empty()) drop.place = place_among(*top.draws[0].drop_pp, drops_of(*group), sets);
    masking.tests.push_back(drop);
    masking.tests.push_back(shift);
  }
}

void correlate(Masking& masking, const RouterProfile& profile) {
  std::vector<double> shift, drop, mass, dose;
  for (const char* name : {"R", "U"})
    for (const MaskDraw& draw : find_group(masking, name, masking.primary_m)->draws) {
      if (!draw.drop_pp || !draw.dose_nats) continue;
      shift.push_back(draw.shift_pp);
      drop.push_back(*draw.drop_pp);
      dose.push_back(*draw.dose_nats);
      double sum = 0;
      for (const RoutedExpert& expert : draw.experts)
        sum += profile.at(expert.layer).mean_norm_E[static_cast<size_t>(expert.expert)];
      mass.push_back(sum);
    }
  if (shift.size() < 5) {
    masking.correlation_reason = "fewer than five draws have a shift, a drop and a dose";
    return;
  }
  const auto correlation = stats::partial_spearman(shift, drop, {std::span<const double>(mass), std::span<const double>(dose)});
  if (correlation) masking.partial_correlation = *correlation;
  else masking.correlation_reason = correlation.reason;
}

// Some subset of T that lowers bias by delta_B within tau: a smaller group of the same ranking, or one expert.
struct Separable {
  std::string what;
  double shift_pp = 0, drop_pp = 0;
};

std::optional<Separable> find_separable(const Masking& masking, const Thresholds& limits) {
  std::optional<Separable> best;
  const auto consider = [&](const std::string& what, const Shift& shift, const Drop& drop) {
    if (shift.value_pp < limits.shift_pp || shift.interval95.low <= 0) return;
    if (drop.n == 0 || drop.interval90.high > limits.pooled_drop_pp) return;
    if (!best || shift.value_pp > best->shift_pp) best = Separable{what, shift.value_pp, drop.value_pp};
  };
  for (const MaskGroup& group : masking.groups)
    if (group.group == "T" && group.m <= masking.primary_m)
      consider(fmt::format("the top {} experts", group.m), *group.shift, *group.drop);
  for (const MaskSingle& single : masking.singles)
    consider(fmt::format("expert {} of layer {}", single.expert.expert, single.expert.layer), single.shift, single.drop);
  return best;
}

void conclude(Masking& masking, const Thresholds& limits) {
  const MaskGroup& top = *find_group(masking, "T", masking.primary_m);
  const MaskGroup* usage = find_group(masking, "U", masking.primary_m);
  std::string text = fmt::format("Masking the top {} experts with refill removes {:.1f} pp", masking.primary_m,
                                 top.draws[0].shift_pp);
  if (top.draws[0].drop_pp) text += fmt::format(" at a drop of {:.1f} pp", *top.draws[0].drop_pp);
  if (!usage->draws.empty()) {
    text += fmt::format("; usage-matched experts remove {:.1f} pp", *stats::mean(shifts_of(*usage)));
    if (const auto drop = stats::mean(drops_of(*usage))) text += fmt::format(" at a drop of {:.1f} pp", *drop);
  }
  if (const auto separable = find_separable(masking, limits)) {
    masking.conclusion = "separable";
    masking.sentence = fmt::format("{}. Masking {} with refill removes {:.1f} pp at a drop of {:.1f} pp within tau: "
                                   "separable at finer grain.",
                                   text, separable->what, separable->shift_pp, separable->drop_pp);
    return;
  }
  std::string why;
  const auto add = [&](const std::string& reason) { why += (why.empty() ? "" : "; ") + reason; };
  for (const MaskTest& test : masking.tests) {
    if (test.name != "drop of T among U") continue;
    if (!test.reason.empty()) add(test.reason);
    else if (test.place.distinct_sets < kLeastDistinctSets)
      add(fmt::format("{} distinct usage-matched sets were drawn and {} are needed", test.place.distinct_sets,
                      kLeastDistinctSets));
  }
  add("capacity-matched and knowledge groups and the split into direct and mediated effects were not run");
  masking.sentence = fmt::format("{}. Whether bias and knowledge share these experts is unresolved (mode refill): {}.",
                                 text, why);
}

}  // namespace

Masking mask_groups(Measurer& measurer, const ExpertScores& scores, const RouterProfile& profile, const TestOutcomes& test,
                    const std::vector<int>& signs, const DiagnosisOptions& options) {
  Masking masking;
  const Study& study = measurer.study();
  const RoutedModel& model = measurer.model();
  const std::vector<int64_t> sizes = mask_sizes(static_cast<int64_t>(model.moe_layers.size()) * model.router.num_experts);
  if (sizes.empty() || top_group(scores, 1, model).empty()) {
    masking.sentence = sizes.empty() ? "The model has fewer than eight routed experts: an eighth of them is no group."
                                     : "Every expert is needed to fill the top k, so none can be masked with refill.";
    masking.additivity_reason = masking.correlation_reason = "no group of experts could be masked";
    return masking;
  }
  masking.primary_m = primary_size(sizes);
  for (const int64_t m : sizes)
    for (MaskGroup& group :
         draw_groups(scores, profile, model, m, m == masking.primary_m || options.profile == StudyProfile::kFull, options))
      masking.groups.push_back(std::move(group));
  for (const RoutedExpert& expert : find_group(masking, "T", masking.primary_m)->draws[0].experts)
    masking.singles.push_back({.expert = expert});

  std::vector<Intervention> interventions;
  for (const MaskGroup& group : masking.groups)
    for (size_t d = 0; d < group.draws.size(); ++d)
      interventions.push_back(
          mask_intervention(group.draws[d].experts, fmt::format("mask-{}-{}-{}", group.group, group.m, d)));
  for (const MaskSingle& single : masking.singles)
    interventions.push_back(mask_intervention({&single.expert, 1}, fmt::format("mask-{}-{}", single.expert.layer,
                                                                              single.expert.expert)));
  std::vector<const Intervention*> asked;
  for (const Intervention& intervention : interventions) asked.push_back(&intervention);
  Items items;
  items.part = "masking";
  items.pairs = test.pairs;
  items.utility = test.utility;
  const std::vector<Outcomes> outcomes = measurer.evaluate(items, asked);
  std::vector<Dose> doses;
  if (!study.neutral.empty())
    doses = measurer.doses(std::span(asked).first(asked.size() - masking.singles.size()), options.neutral_tokens);

  const auto base = at_indices<Margins>(test.base.pairs, test.pairs);
  const auto base_utility = at_indices<UtilityOutcome>(test.base.utility, test.utility);
  const auto measured_shift = [&](const Outcomes& edited) {
    return measure_shift(study, test.pairs, base, edited.pairs, signs, MarginScoring::kSum, options, "masking");
  };
  const auto measured_drop = [&](const Outcomes& edited) {
    return measure_drop(study, test.utility, base_utility, edited.utility, options, "masking/utility");
  };
  size_t next = 0;
  for (MaskGroup& group : masking.groups)
    for (MaskDraw& draw : group.draws) {
      const Outcomes& edited = outcomes[next];
      draw.shift_pp = shift_pp(study, test.pairs, base, edited.pairs, signs);
      if (!test.utility.empty()) draw.drop_pp = drop_pp(base_utility, edited.utility);
      if (!doses.empty()) draw.dose_nats = doses[next].kl_nats;
      if (group.group == "T" || group.group == "L") {
        group.shift = measured_shift(edited);
        group.drop = measured_drop(edited);
      }
      ++next;
    }
  double sum = 0;
  for (MaskSingle& single : masking.singles) {
    single.shift = measured_shift(outcomes[next]);
    single.drop = measured_drop(outcomes[next]);
    sum += single.shift.value_pp;
    ++next;
  }
  masking.additivity_gap_pp = find_group(masking, "T", masking.primary_m)->draws[0].shift_pp - sum;
  make_tests(masking);
  correlate(masking, profile);
  conclude(masking, options.thresholds);
  return masking;
}

namespace {

OrderedJson group_json(const MaskGroup& group) {
  const bool fixed = group.group == "T" || group.group == "L";
  const std::string none = group.reason;
  OrderedJson row;
  row["group"] = group.group;
  row["mode"] = "refill";
  row["m"] = group.m;
  row["draws"] = group.draws.size();
  row["experts"] = OrderedJson::array();
  if (fixed)
    for (const RoutedExpert& expert : group.draws[0].experts)
      row["experts"].push_back({{"layer", expert.layer}, {"expert", expert.expert}});
  put_field(row, "matched_share", group.matched_share, none.empty() ? "only matched groups have partners" : none);
  const auto put_values = [&](const std::string& value_name, const std::string& interval_name, std::vector<double> values,
                              const std::optional<stats::Interval>& own, const std::string& reason) {
    std::optional<double> mean;
    std::optional<stats::Interval> interval = own;
    if (!values.empty()) {
      mean = *stats::mean(values);
      std::sort(values.begin(), values.end());
      if (!fixed) interval = stats::Interval{stats::quantile_sorted(values, 0.025), stats::quantile_sorted(values, 0.975)};
    }
    put_field(row, value_name, mean, reason);
    put_interval(row, interval_name, mean ? interval : std::nullopt, reason);
  };
  const std::string no_utility = none.empty() ? "the test split holds no utility item" : none;
  put_values("shift_pp", "shift_interval", shifts_of(group),
             group.shift ? std::optional(group.shift->interval95) : std::nullopt, none);
  put_values("drop_pp", "drop_interval", drops_of(group), group.drop ? std::optional(group.drop->interval95) : std::nullopt,
             no_utility);
  std::vector<double> doses;
  for (const MaskDraw& draw : group.draws)
    if (draw.dose_nats) doses.push_back(*draw.dose_nats);
  put_field(row, "dose_nats", doses.empty() ? std::nullopt : std::optional(*stats::mean(doses)),
            none.empty() ? "no neutral text was given" : none);
  for (const char* name : {"routing_change", "direct_pp", "mediated_pp", "routing_only_pp"})
    put_null(row, name, none.empty() ? "replay of later layers' routes is not part of this build" : none);
  return row;
}

}  // namespace

OrderedJson masking_json(const Masking& masking) {
  OrderedJson json;
  json["conclusion"] = masking.conclusion;
  json["sentence"] = masking.sentence;
  json["modes_run"] = masking.primary_m > 0 ? OrderedJson::array({"refill"}) : OrderedJson::array();
  json["groups"] = OrderedJson::array();
  for (const MaskGroup& group : masking.groups) json["groups"].push_back(group_json(group));
  if (masking.primary_m > 0)
    for (const auto& [name, reason] :
         {std::pair{"C", "capacity matching is not part of this build"},
          std::pair{"N", "scores of utility margins, which choose knowledge experts, are not part of this build"}})
      json["groups"].push_back(group_json({.group = name, .m = masking.primary_m, .reason = reason}));
  json["draw_values"] = OrderedJson::array();
  for (const MaskGroup& group : masking.groups) {
    if (group.m != masking.primary_m || group.group == "T" || group.group == "L") continue;
    for (size_t d = 0; d < group.draws.size(); ++d) {
      OrderedJson row;
      row["group"] = group.group;
      row["mode"] = "refill";
      row["draw"] = d;
      row["shift_pp"] = group.draws[d].shift_pp;
      put_field(row, "drop_pp", group.draws[d].drop_pp, "the test split holds no utility item");
      put_field(row, "dose_nats", group.draws[d].dose_nats, "no neutral text was given");
      json["draw_values"].push_back(row);
    }
  }
  json["tests"] = OrderedJson::array();
  for (const MaskTest& test : masking.tests) {
    OrderedJson row;
    row["name"] = test.name;
    const bool made = test.reason.empty();
    put_field(row, "z", made ? test.place.z : std::nullopt, made ? test.place.reason : test.reason);
    put_field(row, "p", made ? std::optional(test.place.p) : std::nullopt, test.reason);
    put_field(row, "distinct_sets", made ? std::optional(test.place.distinct_sets) : std::nullopt, test.reason);
    json["tests"].push_back(row);
  }
  json["singles"] = OrderedJson::array();
  for (const MaskSingle& single : masking.singles) {
    OrderedJson row;
    row["layer"] = single.expert.layer;
    row["expert"] = single.expert.expert;
    row["shift_pp"] = single.shift.value_pp;
    put_field(row, "drop_pp", single.drop.n > 0 ? std::optional(single.drop.value_pp) : std::nullopt,
              "the test split holds no utility item");
    json["singles"].push_back(row);
  }
  put_field(json, "additivity_gap_pp", masking.additivity_gap_pp, masking.additivity_reason);
  put_field(json, "partial_correlation", masking.partial_correlation, masking.correlation_reason);
  return json;
}

}  // namespace fare
