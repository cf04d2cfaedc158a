#include <algorithm>

#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/sensitivity.h"

namespace fare {

OrderedJson sensitivity_json(const Sensitivity& sensitivity) {
  OrderedJson json;
  json["primary_span"] = "P";
  json["primary_null"] = "N1";
  json["sensitive_layers"] = sensitivity.sensitive_layers;
  json["causal_zero_max"] = sensitivity.causal_zero_max;
  json["rows"] = OrderedJson::array();
  for (const SensitivityRow& row : sensitivity.rows) {
    OrderedJson one;
    const std::string reason = row.reason.empty() ? "undefined here" : row.reason;
    const auto number = [&](const char* name, const std::optional<double>& value) {
      put_field(one, name, value, reason);
    };
    const auto interval = [&](const char* name, const std::optional<stats::Interval>& value) {
      put_interval(one, name, value, reason);
    };
    one["layer"] = row.layer;
    one["axis"] = row.axis;
    one["span"] = row.span;
    one["null"] = row.null;
    one["n"] = row.n;
    one["n_eff"] = row.n_eff;
    one["js_demo"] = row.js_demo;
    one["js_null"] = row.js_null;
    one["difference"] = row.difference;
    interval("difference_interval", row.difference95);
    number("d_z", row.d_z);
    interval("d_z_interval", row.d_z95);
    number("ratio", row.ratio);
    interval("ratio_interval", row.ratio95);
    number("cliffs_delta", row.cliffs_delta);
    one["p"] = row.p;
    one["p_bh"] = row.p_bh;
    one["family_size"] = row.family_size;
    number("mde", row.mde);
    one["sensitive"] = row.sensitive;
    json["rows"].push_back(std::move(one));
  }
  json["statistics"] = OrderedJson::array();
  for (const StatisticsRow& row : sensitivity.statistics) {
    OrderedJson one = {{"layer", row.layer}, {"axis", row.axis}, {"span", row.span}, {"kind", row.kind}, {"n", row.n}};
    for (size_t i = 0; i < kNumRoutingStatistics; ++i) one[kRoutingStatisticNames[i]] = row.mean[i];
    json["statistics"].push_back(std::move(one));
  }
  json["expert_gaps"] = OrderedJson::array();
  for (const ExpertGap& gap : sensitivity.expert_gaps)
    json["expert_gaps"].push_back({{"layer", gap.layer},
                                   {"expert", gap.expert},
                                   {"span", gap.span},
                                   {"score_gap", gap.score},
                                   {"selection_gap", gap.selection}});
  const bool any_null = std::any_of(sensitivity.null_pairs.begin(), sensitivity.null_pairs.end(),
                                    [](const auto& entry) { return entry.first == "N1" && entry.second > 0; });
  if (!any_null || sensitivity.adjusted.empty()) {
    put_null(json, "adjusted",
             any_null ? "no pair has both changed tokens that are fed and a token after them"
                      : "there are no neutral null pairs (N1)");
    return json;
  }
  json["adjusted"] = {{"rows", OrderedJson::array()}};
  for (const AdjustedEffect& effect : sensitivity.adjusted) {
    OrderedJson row = {{"layer", effect.layer}, {"n", effect.n}, {"clusters", effect.clusters}};
    const std::string left_out = effect.reason.empty() ? "constant, or explained by the others" : effect.reason;
    put_field(row, "distance", effect.distance, left_out);
    put_field(row, "log_frequency", effect.log_frequency, left_out);
    put_field(row, "length", effect.length, left_out);
    put_field(row, "demographic", effect.demographic, effect.reason);
    put_interval(row, "demographic_interval", effect.demographic95, effect.reason);
    json["adjusted"]["rows"].push_back(std::move(row));
  }
  return json;
}

}  // namespace fare
