#include <algorithm>

#include "fare/diagnosis/masking.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

constexpr const char* kNoUtility = "the test split holds no utility item";

OrderedJson experts_of(std::span<const RoutedExpert> experts) {
  OrderedJson list = OrderedJson::array();
  for (const RoutedExpert& expert : experts) list.push_back({{"layer", expert.layer}, {"expert", expert.expert}});
  return list;
}

void put_parts(OrderedJson& row, const std::string& suffix, const std::optional<EffectParts>& parts,
               const std::string& reason) {
  const auto put = [&](const std::string& name, double EffectParts::*part) {
    put_field(row, name + suffix, parts ? std::optional((*parts).*part) : std::nullopt, reason);
  };
  put("direct", &EffectParts::direct);
  put("mediated", &EffectParts::mediated);
  put("routing_only", &EffectParts::routing_only);
}

OrderedJson group_json(const MaskGroup& group) {
  const std::string none = group.reason;
  OrderedJson row;
  row["group"] = group.group;
  row["mode"] = group.mode;
  row["m"] = group.m;
  row["draws"] = group.draws.size();
  row["experts"] = group.fixed() && !group.draws.empty() ? experts_of(group.draws[0].experts) : OrderedJson::array();
  put_field(row, "matched_share", group.matched_share, none.empty() ? "only matched groups have partners" : none);
  std::vector<double> shifts, drops, doses;
  for (const MaskDraw& draw : group.draws) {
    shifts.push_back(draw.shift_pp);
    if (draw.drop_pp) drops.push_back(*draw.drop_pp);
    if (draw.dose_nats) doses.push_back(*draw.dose_nats);
  }
  // Of a fixed group the value and its interval; of draws the mean and their central 95%.
  const auto put_values = [&](const std::string& value_name, const std::string& interval_name,
                              std::vector<double> values, const std::optional<stats::Interval>& own,
                              const std::string& reason) {
    std::optional<double> mean;
    std::optional<stats::Interval> interval = own;
    if (!values.empty()) {
      mean = *stats::mean(values);
      std::sort(values.begin(), values.end());
      if (!group.fixed())
        interval = stats::Interval{stats::quantile_sorted(values, 0.025), stats::quantile_sorted(values, 0.975)};
    }
    put_field(row, value_name, mean, reason);
    put_interval(row, interval_name, mean ? interval : std::nullopt, reason);
  };
  put_values("shift_pp", "shift_interval", shifts, group.shift ? std::optional(group.shift->interval95) : std::nullopt,
             none);
  put_values("drop_pp", "drop_interval", drops, group.drop ? std::optional(group.drop->interval95) : std::nullopt,
             none.empty() ? kNoUtility : none);
  put_field(row, "dose_nats", doses.empty() ? std::nullopt : std::optional(*stats::mean(doses)),
            none.empty() ? "no neutral text was given" : none);
  const std::string no_parts =
      group.parts_reason.empty() ? std::string("no MoE layer follows the masked ones") : group.parts_reason;
  std::optional<double> change;
  if (!group.later.empty()) {
    change = 0;
    for (const RoutingChange& layer : group.later) *change += layer.js_bits / static_cast<double>(group.later.size());
  }
  put_field(row, "routing_change", change, no_parts);
  put_parts(row, "_pp", group.drop_parts, group.shift_parts ? kNoUtility : no_parts);
  put_parts(row, "_shift_pp", group.shift_parts, no_parts);
  return row;
}

}  // namespace

OrderedJson masking_json(const Masking& masking) {
  OrderedJson json;
  json["conclusion"] = masking.conclusion;
  json["sentence"] = masking.sentence;
  json["homogeneous"] = masking.homogeneous;
  json["modes_run"] = OrderedJson::array();
  for (const char* mode : {"refill", "renormalize", "zero", "mean", "resample"})
    if (std::any_of(masking.groups.begin(), masking.groups.end(),
                    [&](const MaskGroup& group) { return group.mode == mode && !group.draws.empty(); }))
      json["modes_run"].push_back(mode);
  json["super_experts"] = experts_of(masking.apart);
  json["groups"] = OrderedJson::array();
  json["draw_values"] = OrderedJson::array();
  json["routing_changes"] = OrderedJson::array();
  for (const MaskGroup& group : masking.groups) {
    json["groups"].push_back(group_json(group));
    for (const RoutingChange& layer : group.later)
      json["routing_changes"].push_back({{"group", group.group},
                                         {"mode", group.mode},
                                         {"m", group.m},
                                         {"layer", layer.layer},
                                         {"js", layer.js_bits},
                                         {"set_distance", layer.set_distance},
                                         {"changed_share", layer.changed_share},
                                         {"load_entropy_base", layer.load_entropy_base},
                                         {"load_entropy_masked", layer.load_entropy_masked}});
    if (group.m != masking.primary_m || group.fixed()) continue;
    for (size_t d = 0; d < group.draws.size(); ++d) {
      OrderedJson row = {
          {"group", group.group}, {"mode", group.mode}, {"draw", d}, {"shift_pp", group.draws[d].shift_pp}};
      put_field(row, "drop_pp", group.draws[d].drop_pp, kNoUtility);
      put_field(row, "dose_nats", group.draws[d].dose_nats, "no neutral text was given");
      json["draw_values"].push_back(std::move(row));
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
    json["tests"].push_back(std::move(row));
  }
  json["singles"] = OrderedJson::array();
  json["subsets"] = OrderedJson::array();
  for (const MaskSubset& subset : masking.subsets) {
    OrderedJson row;
    if (subset.kind == MaskSubset::Kind::kSingle)
      row = {{"layer", subset.experts.front().layer}, {"expert", subset.experts.front().expert}};
    else row = {{"what", subset.what}, {"experts", experts_of(subset.experts)}};
    const bool has_utility = subset.drop.n > 0;
    row["shift_pp"] = subset.shift.value_pp;
    put_interval(row, "shift_interval", std::optional(subset.shift.interval95), "");
    put_field(row, "drop_pp", has_utility ? std::optional(subset.drop.value_pp) : std::nullopt, kNoUtility);
    put_interval(row, "drop_interval", has_utility ? std::optional(subset.drop.interval95) : std::nullopt, kNoUtility);
    put_field(row, "separable", subset.separable, "the intervals of shift and drop leave it open");
    json[subset.kind == MaskSubset::Kind::kSingle ? "singles" : "subsets"].push_back(std::move(row));
  }
  put_field(json, "additivity_gap_pp", masking.additivity_gap_pp, masking.additivity_reason);
  put_field(json, "partial_correlation", masking.partial_correlation, masking.correlation_reason);
  put_field(json, "replay_gap_nats", masking.replay_gap_nats, "no group of experts could be masked");
  return json;
}

}  // namespace fare
