#include "fare/diagnosis/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/diagnosis/neutral_text.h"
#include "fare/diagnosis/null_fields.h"

namespace fare {
namespace {

constexpr int64_t kBreadths[] = {1, 2, 5, 10, 20, 50, 100, 200};
constexpr double kFactor = 0.5;
constexpr int kDoseSteps = 16;         // of a bisection of log strength
constexpr double kStrengthRange = 64;  // the strength may grow or shrink by this

LayerEdits edits_everywhere(const Intervention& intervention, const RoutedModel& model) {
  LayerEdits edits;
  for (const Edit& edit : intervention.edits)
    for (const int64_t layer : model.moe_layers)
      if (edit.touches(layer)) edits[layer].push_back({&edit, {}, {}});
  return edits;
}

at::Tensor edited_pass(const Model& model, const NeutralText& text, const Intervention& intervention,
                       const RoutedModel& routed) {
  const LayerEdits edits = edits_everywhere(intervention, routed);
  PassOptions options;
  options.edits = &edits;
  return replay_pass(model, text.pack(), options);
}

struct Outputs {
  std::map<int64_t, at::Tensor> routed_TD, shared_TD;
};

Outputs outputs_of(const Model& model, const NeutralText& text, const LayerEdits* edits) {
  Outputs outputs;
  PassOptions options;
  options.edits = edits;
  options.tap = [&](Site site, int64_t layer, const at::Tensor& value) {
    if (site == Site::kRoutedOutput) outputs.routed_TD[layer] = value.to(at::kFloat);
    if (site == Site::kSharedOutput) outputs.shared_TD[layer] = value.to(at::kFloat);
  };
  replay_pass(model, text.pack(), options);
  return outputs;
}

double relative_change(const at::Tensor& before, const at::Tensor& after) {
  const double size = before.norm(2, 1).sum().item<double>();
  return size > 0 ? (after - before).norm(2, 1).sum().item<double>() / size : 0;
}

void measure_buffering(Conditions& conditions, const Measurer& measurer, const RouterProfile& profile,
                       std::span<const RoutedExpert> top, const DiagnosisOptions& options) {
  if (top.empty() || measurer.study().neutral.empty()) {
    conditions.buffering_reason = top.empty() ? "no group of experts could be masked" : "no neutral text was given";
    return;
  }
  const at::NoGradGuard no_grad;
  const Model& model = measurer.scorer().model();
  const NeutralText text(measurer, options.neutral_tokens);
  const Intervention mask = mask_intervention(top, "buffering");
  const LayerEdits edits = edits_everywhere(mask, measurer.model());
  const Outputs base = outputs_of(model, text, nullptr), masked = outputs_of(model, text, &edits);
  for (const auto& [layer, routed] : base.routed_TD) {
    BufferingRow row;
    row.layer = layer;
    row.shared_share = profile.at(layer).shared_share;
    const auto shared = base.shared_TD.find(layer);
    const double change = relative_change(routed, masked.routed_TD.at(layer));
    if (shared == base.shared_TD.end()) row.reason = "the layer has no shared expert";
    else if (change == 0) row.reason = "the mask does not change this layer's routed output";
    else
      row.buffering =
          relative_change(routed + shared->second, masked.routed_TD.at(layer) + masked.shared_TD.at(layer)) / change;
    conditions.buffering.push_back(std::move(row));
  }
}

// `configuration` at a strength, with the shared experts' output halved.
Intervention halved(const Configuration& configuration, const std::vector<ChosenExpert>& experts,
                    const RouterProfile& profile, const RoutedModel& model) {
  Intervention intervention = make_intervention(configuration, experts, profile, model.router.top_k);
  intervention.name = "shared experts halved";
  intervention.edits.insert(intervention.edits.begin(), {SharedScale{kFactor}, {}, {}});
  return intervention;
}

void test_shared_scale(Conditions& conditions, Measurer& measurer, const SearchRow& row, const std::string& candidate,
                       const RouterProfile& profile, const TestOutcomes& test, const std::vector<int>& signs,
                       const DiagnosisOptions& options) {
  const RoutedModel& routed = measurer.model();
  if (!routed.router.has_shared_expert) {
    conditions.shared_scale_reason = "the model has no shared expert";
    return;
  }
  if (measurer.study().neutral.empty() || row.experts.empty()) {
    conditions.shared_scale_reason =
        row.experts.empty() ? "the configuration names no expert" : "no neutral text was given";
    return;
  }
  const at::NoGradGuard no_grad;
  const Model& model = measurer.scorer().model();
  const NeutralText text(measurer, options.neutral_tokens);
  SharedScaleTest result;
  result.candidate = candidate;
  result.factor = kFactor;
  result.lambda = row.configuration.lambda;
  result.dose_nats = text.kl_nats(text.base_TD(), edited_pass(model, text, row.intervention, routed));
  if (result.dose_nats <= 0) {
    conditions.shared_scale_reason = "the candidate has a dose of 0";
    return;
  }
  Intervention alone;
  alone.edits.push_back({SharedScale{kFactor}, {}, {}});
  const at::Tensor halved_TD = edited_pass(model, text, alone, routed);
  Configuration tuned = row.configuration;
  const auto dose_at = [&](double factor) {
    tuned.lambda = row.configuration.lambda * factor;
    return text.kl_nats(halved_TD, edited_pass(model, text, halved(tuned, row.experts, profile, routed), routed));
  };
  double low = -std::log(kStrengthRange), high = -low, best = 0, best_gap = 1e300;
  for (int step = 0; step < kDoseSteps; ++step) {
    measurer.progress().check();
    const double middle = step == 0 ? 0 : (low + high) / 2, dose = dose_at(std::exp(middle));
    const double gap = std::abs(dose / result.dose_nats - 1);
    if (gap < best_gap) best_gap = gap, best = middle, result.halved_dose_nats = dose;
    if (gap <= options.dose_tolerance) break;
    (dose > result.dose_nats ? high : low) = middle;
  }
  if (best_gap > options.dose_tolerance) {
    conditions.shared_scale_reason =
        fmt::format("no strength has the candidate's dose within {:.0f}%; the nearest is {:.2g} against {:.2g} nats",
                    100 * options.dose_tolerance, result.halved_dose_nats, result.dose_nats);
    return;
  }
  tuned.lambda = result.halved_lambda = row.configuration.lambda * std::exp(best);
  const Intervention both = halved(tuned, row.experts, profile, routed);
  Items items;
  items.part = "conditions";
  items.pairs = test.pairs;
  const std::vector<const Intervention*> asked = {nullptr, &row.intervention, &alone, &both};
  const std::vector<Outcomes> outcomes = measurer.evaluate(items, asked);
  const auto shift = [&](size_t from, size_t to) {
    return measure_shift(measurer.study(), test.pairs, outcomes[from].pairs, outcomes[to].pairs, signs,
                         MarginScoring::kSum, options, "conditions");
  };
  result.shift = shift(0, 1);
  result.halved_shift = shift(2, 3);
  conditions.shared_scale = std::move(result);
}

void measure_breadth(Conditions& conditions, Measurer& measurer, const Configuration& configuration,
                     const ExpertScores& scores, const RouterProfile& profile, const std::vector<int>& signs,
                     const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  const RoutedModel& model = measurer.model();
  Items items;
  items.part = "breadth";
  items.pairs = study.pairs_in(SplitPart::kValidation);
  items.utility = study.utility_in(SplitPart::kValidation);
  if (items.pairs.empty()) {
    conditions.k_star_reason = "the validation split holds no pair";
    return;
  }
  const int64_t most =
      static_cast<int64_t>(layers_of_set(configuration.layers, model).size()) * model.router.num_experts / 2;
  std::vector<Intervention> interventions;
  for (const int64_t k : kBreadths) {
    Configuration one = configuration;
    one.k = std::min(k, most);
    if (!conditions.breadth.empty() && conditions.breadth.back().k == one.k) break;
    const auto experts = chosen_experts(one, scores, model, options.seed);
    conditions.breadth.push_back({.k = one.k, .experts = static_cast<int64_t>(experts.size())});
    interventions.push_back(make_intervention(one, experts, profile, model.router.top_k));
  }
  std::vector<const Intervention*> asked = {nullptr};
  for (const Intervention& intervention : interventions) asked.push_back(&intervention);
  const std::vector<Outcomes> outcomes = measurer.evaluate(items, asked);
  for (size_t i = 0; i < conditions.breadth.size(); ++i) {
    conditions.breadth[i].shift = measure_shift(study, items.pairs, outcomes[0].pairs, outcomes[i + 1].pairs, signs,
                                                MarginScoring::kSum, options, "breadth");
    conditions.breadth[i].drop =
        measure_drop(study, items.utility, outcomes[0].utility, outcomes[i + 1].utility, options, "breadth/utility");
  }
  conditions.k_star = breadth_threshold(conditions.breadth, options.thresholds.shift_pp);
  if (!conditions.k_star)
    conditions.k_star_reason = fmt::format("none up to k_max = {}: no lower 95% bound stays above {:.1f} pp",
                                           conditions.breadth.back().k, options.thresholds.shift_pp);
}

}  // namespace

std::optional<int64_t> breadth_threshold(std::span<const BreadthPoint> points, double least) {
  std::optional<int64_t> smallest;
  for (size_t i = points.size(); i-- > 0 && points[i].shift.interval95.low > least;) smallest = points[i].k;
  return smallest;
}

Conditions measure_conditions(Measurer& measurer, const SearchResult& search, const ExpertScores& scores,
                              const RouterProfile& profile, std::span<const RoutedExpert> top, const TestOutcomes& test,
                              const std::vector<int>& signs, const DiagnosisOptions& options) {
  Conditions conditions;
  measure_buffering(conditions, measurer, profile, top, options);
  if (!search.reach) {
    conditions.shared_scale_reason = conditions.k_star_reason = "the search kept no configuration";
    return conditions;
  }
  const SearchRow& row = search.rows[*search.reach];
  conditions.configuration = row.configuration;
  test_shared_scale(conditions, measurer, row, row.name, profile, test, signs, options);
  measure_breadth(conditions, measurer, row.configuration, scores, profile, signs, options);
  return conditions;
}

OrderedJson conditions_json(const Conditions& conditions) {
  OrderedJson json;
  if (conditions.buffering.empty()) {
    put_null(json, "buffering", conditions.buffering_reason);
  } else {
    json["buffering"] = OrderedJson::array();
    for (const BufferingRow& row : conditions.buffering) {
      OrderedJson one = {{"layer", row.layer}};
      put_field(one, "shared_share", row.shared_share, "the layer has no shared expert");
      put_field(one, "buffering", row.buffering, row.reason);
      json["buffering"].push_back(std::move(one));
    }
  }
  if (const auto& test = conditions.shared_scale) {
    OrderedJson rows = OrderedJson::array();
    for (const bool is_halved : {false, true}) {
      const Shift& shift = is_halved ? test->halved_shift : test->shift;
      OrderedJson row = {{"candidate", test->candidate},
                         {"shared_factor", is_halved ? test->factor : 1.0},
                         {"lambda", is_halved ? test->halved_lambda : test->lambda},
                         {"dose_nats", is_halved ? test->halved_dose_nats : test->dose_nats},
                         {"shift_pp", shift.value_pp}};
      put_interval(row, "shift_interval", std::optional(shift.interval95), "");
      rows.push_back(std::move(row));
    }
    json["shared_scale"] = {{"rows", std::move(rows)}};
  } else {
    put_null(json, "shared_scale", conditions.shared_scale_reason);
  }
  if (conditions.breadth.empty()) {
    put_null(json, "breadth", conditions.k_star_reason);
  } else {
    const Configuration& fixed = *conditions.configuration;
    OrderedJson breadth = {{"family", fixed.family},
                           {"score", fixed.score},
                           {"lambda", fixed.lambda},
                           {"layers", fixed.layers},
                           {"sign", fixed.sign}};
    put_field(breadth, "k_star", conditions.k_star, conditions.k_star_reason);
    breadth["k_max"] = conditions.breadth.back().k;
    breadth["rows"] = OrderedJson::array();
    for (const BreadthPoint& point : conditions.breadth) {
      OrderedJson row = {{"k", point.k}, {"experts", point.experts}, {"shift_pp", point.shift.value_pp}};
      put_interval(row, "shift_interval", std::optional(point.shift.interval95), "");
      const char* no_utility = "the validation split holds no utility item";
      put_field(row, "drop_pp", point.drop.n > 0 ? std::optional(point.drop.value_pp) : std::nullopt, no_utility);
      put_interval(row, "drop_interval", point.drop.n > 0 ? std::optional(point.drop.interval95) : std::nullopt,
                   no_utility);
      breadth["rows"].push_back(std::move(row));
    }
    json["breadth"] = std::move(breadth);
  }
  put_null(json, "slope_over_models",
           "one model was run: a slope of shift on buffering needs several (fare report RUN1 RUN2 ..)");
  return json;
}

}  // namespace fare
