#include <algorithm>

#include "fare/core/error.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/verdict.h"

namespace fare {
namespace {

// What every estimate begins with; `of` has the interval and the counts.
template <typename Estimate>
void put_estimate(OrderedJson& json, const Estimate& of, double value, const std::string& unit) {
  json["value"] = value;
  json["interval"] = OrderedJson::array({of.interval95.low, of.interval95.high});
  json["level"] = 0.95;
  json["unit"] = unit;
  json["split"] = "test";
  json["n"] = of.n;
  json["n_eff"] = of.n_eff;
}

OrderedJson estimate_of_shift(const CandidateEvidence& candidate) {
  OrderedJson json;
  put_estimate(json, candidate.shift, candidate.shift.value_pp, "pp");
  json["p"] = candidate.shift.p_one_sided;
  json["p_bh"] = candidate.p_bh;
  json["family_size"] = candidate.family_size;
  put_field(json, "mde", candidate.shift.mde_pp, candidate.shift.mde_reason);
  return json;
}

OrderedJson estimate_of_cost(const UtilityMargin& margin) {
  OrderedJson json;
  put_estimate(json, margin.drop, margin.drop.value_pp, "pp");
  const char* decided = "non-inferiority is decided by the interval";
  put_null(json, "p", decided);
  put_null(json, "p_bh", decided);
  put_null(json, "family_size", decided);
  put_field(json, "mde", margin.drop.mde_pp, margin.drop.mde_reason);
  return json;
}

OrderedJson estimate_of_transfer(const TransferMetric& metric) {
  OrderedJson json;
  json["metric"] = metric.metric;
  put_estimate(json, metric, metric.value, metric.unit);
  json["p"] = metric.p;
  json["p_bh"] = metric.p_bh;
  json["family_size"] = metric.family_size;
  put_field(json, "mde", metric.mde, metric.mde_reason);
  return json;
}

OrderedJson verdict_row(const Headline& headline) {
  OrderedJson row;
  row["control_class"] = headline.control_class;
  row["code"] = headline.code;
  row["candidate"] = headline.candidate;
  put_field(row, "stage", headline.stage, "every answer is yes");
  put_field(row, "mde_pp", headline.mde_pp, headline.mde_reason);
  row["sentence"] = headline.sentence;
  return row;
}

}  // namespace

OrderedJson headline_json(const Headline& headline, const Evidence& evidence, const Thresholds& thresholds,
                          const std::vector<std::string>& notes) {
  OrderedJson json;
  json["code"] = headline.code;
  json["sentence"] = headline.sentence;
  json["candidate"] = headline.candidate;
  put_field(json, "stage", headline.stage, "every answer is yes");
  put_field(json, "mde_pp", headline.mde_pp, headline.mde_reason);
  json["numbers"] = OrderedJson::object();
  const CandidateEvidence* shown = nullptr;
  double of_class = 0;
  for (const CandidateEvidence& candidate : evidence.candidates) {
    if (candidate.name == headline.candidate) shown = &candidate;
    of_class += candidate.control_class == headline.control_class;
  }
  FARE_CHECK(shown != nullptr, "the headline's candidate is unknown");
  json["numbers"]["shift"] = estimate_of_shift(*shown);
  if (shown->utility.empty()) put_null(json["numbers"], "cost", evidence.no_utility);
  else json["numbers"]["cost"] = estimate_of_cost(shown->utility.front());
  if (shown->transfer && !shown->transfer->metrics.empty())
    json["numbers"]["transfer"] =
        estimate_of_transfer(*deciding_metric(*shown->transfer, thresholds, thresholds.alpha / of_class));
  else
    put_null(json["numbers"], "transfer",
             shown->transfer_reason.empty() ? "generation transfer was not measured" : shown->transfer_reason);
  json["same_headline"] = {{"settings", headline.settings}, {"same", headline.same}};
  json["notes"] = notes;
  return json;
}

OrderedJson verdicts_json(const Verdict& verdict) {
  OrderedJson list = OrderedJson::array();
  list.push_back(verdict_row(verdict.headline));
  for (const char* control_class : {kControlClasses[1], kControlClasses[2]}) {
    const auto found = std::find_if(verdict.others.begin(), verdict.others.end(),
                                    [&](const Headline& other) { return other.control_class == control_class; });
    if (found != verdict.others.end()) {
      list.push_back(verdict_row(*found));
      continue;
    }
    OrderedJson empty;
    empty["control_class"] = control_class;
    for (const char* field : {"code", "candidate", "stage", "mde_pp", "sentence"})
      put_null(empty, field, "no candidate of this class of control was found");
    list.push_back(std::move(empty));
  }
  return list;
}

OrderedJson stage_json(const StageRow& row) {
  OrderedJson json;
  const auto put = [&](const char* name, const auto& value, const std::string& reason) {
    if (value) {
      json[name] = *value;
    } else {
      json[name] = nullptr;
      json[std::string(name) + "_reason"] = reason.empty() ? "not part of this stage's rule" : reason;
    }
  };
  const std::string why = row.answer == Answer::kNotRun ? row.reason : "";
  json["candidate"] = row.candidate;
  json["control_class"] = row.control_class;
  json["stage"] = row.stage;
  json["name"] = row.name;
  json["answer"] = answer_name(row.answer);
  json["statistic"] = row.statistic;
  put("value", row.value, why);
  std::optional<OrderedJson> interval;
  if (row.interval) interval = OrderedJson::array({row.interval->low, row.interval->high});
  put("interval", interval, why);
  json["level"] = row.level;
  json["unit"] = row.unit;
  put("limit", row.limit, why);
  put("p", row.p, why);
  put("p_bh", row.p_bh, why);
  put("family_size", row.family_size, why);
  put("n", row.n, why);
  put("n_eff", row.n_eff, why);
  put("mde", row.mde, row.mde_reason.empty() ? why : row.mde_reason);
  json["split"] = row.split;
  json["reason"] = row.reason;
  return json;
}

}  // namespace fare
