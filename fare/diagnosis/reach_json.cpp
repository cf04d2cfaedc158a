#include <fmt/format.h>

#include <algorithm>

#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/reach.h"

namespace fare {
namespace {

OrderedJson row_json(const ReachPoint& point, const Shift& test) {
  OrderedJson json;
  json["bound"] = point.bound;
  json["control_class"] = point.control_class;
  json["constraint"] = point.constraint;
  put_field(json, "candidate", point.candidate.empty() ? std::nullopt : std::optional(point.candidate),
            "not carried as a candidate");
  put_field(json, "breadth", point.breadth, "routes are chosen token by token");
  put_field(json, "train_pp", point.train_pp, "measured on validation and test only");
  put_field(json, "validation_pp", point.validation_pp, "not measured on validation");
  put_field(json, "validation_drop_pp", point.validation_drop_pp, "no utility was measured under it");
  json["test_pp"] = test.value_pp;
  put_interval(json, "test_interval", test.interval95, "");
  json["upper_bound_pp"] = test.interval90.high;
  put_field(json, "dose_nats", point.dose ? std::optional(point.dose->kl_nats) : std::nullopt, point.dose_reason);
  return json;
}

OrderedJson not_run_json(const std::string& bound, const std::string& control_class, const std::string& reason) {
  OrderedJson json = {{"bound", bound}, {"control_class", control_class}, {"constraint", "none"}};
  for (const char* field : {"candidate", "breadth", "train_pp", "validation_pp", "validation_drop_pp", "test_pp",
                            "test_interval", "upper_bound_pp", "dose_nats"})
    put_null(json, field, reason);
  return json;
}

// What the rows mean beside each other (methods A6). Compared on the test split.
std::vector<std::string> reading(const OrderedJson& rows, const Thresholds& thresholds) {
  const auto best = [&](const std::string& control_class, const std::string& constraint) {
    std::optional<double> value;
    for (const OrderedJson& row : rows) {
      if (row.at("control_class") != control_class || row.at("constraint") != constraint || row.at("test_pp").is_null())
        continue;
      value = std::max(value.value_or(-1e9), row.at("test_pp").get<double>());
    }
    return value;
  };
  std::vector<std::string> sentences;
  const double delta = thresholds.shift_pp;
  const auto fixed = best("static", "none"), fixed_cheap = best("static", "within_tau");
  const auto larger = [&](const char* control_class, const char* what) {
    for (const char* constraint : {"none", "within_tau"}) {
      const bool free = constraint == std::string("none");
      const auto other = best(control_class, constraint), own = free ? fixed : fixed_cheap;
      if (!other || *other < delta || *other < own.value_or(0) + delta) continue;
      sentences.push_back(fmt::format(
          "{} reaches {:.1f} pp{} where static control reaches {}: the limit is that of one setting for all tokens, "
          "not of the experts.",
          what, *other, free ? "" : " within tau", own ? fmt::format("{:.1f} pp", *own) : std::string("nothing")));
    }
  };
  larger("conditional", "Token-conditional control");
  larger("router_only", "A trained router");
  if (const auto oracle = best("oracle", "none"))
    sentences.push_back(*oracle < delta
                            ? fmt::format("Even the best of the sampled routes, chosen with the answer in sight, moves "
                                          "{:.1f} pp: what the routed "
                                          "experts can express at the critical token is the limit.",
                                          *oracle)
                            : fmt::format("The best of the sampled routes, chosen with the answer in sight, moves "
                                          "{:.1f} pp: the routed experts can "
                                          "express it at the critical token. An oracle is a bound, not a method.",
                                          *oracle));
  if (fixed && *fixed < delta)
    sentences.push_back(
        fmt::format("No static control found moves {:.1f} pp on the test split. This says what these searches did not "
                    "find, not that "
                    "nothing exists.",
                    delta));
  return sentences;
}

OrderedJson curve_json(const OracleCurve& curve, const std::string& split) {
  OrderedJson rows = OrderedJson::array();
  for (size_t i = 0; i < curve.shifts.size(); ++i)
    rows.push_back({{"split", split},
                    {"routes", curve.draws[i]},
                    {"shift_pp", curve.shifts[i].value_pp},
                    {"interval", {curve.shifts[i].interval95.low, curve.shifts[i].interval95.high}}});
  return rows;
}

}  // namespace

OrderedJson reach_json(const SearchResult& search, std::span<const Shift> candidate_shift, const Reach& reach,
                       std::span<const Shift> point_shift, const OracleCurve& oracle_test,
                       const Thresholds& thresholds) {
  OrderedJson rows = OrderedJson::array();
  for (size_t i = 0; i < search.candidates.size(); ++i) {
    const SearchCandidate& candidate = search.candidates[i];
    if (!candidate.row) continue;
    ReachPoint point;
    point.bound = candidate.row == search.reach ? "a5_reach" : "a5_within_tau";
    point.constraint = candidate.row == search.reach ? "none" : "within_tau";
    point.candidate = candidate.name;
    point.breadth = candidate.breadth;
    point.validation_pp = candidate.validation_shift_pp;
    point.validation_drop_pp = search.rows[*candidate.row].drop_pp;
    point.dose = candidate.dose;
    point.dose_reason = candidate.dose_reason;
    rows.push_back(row_json(point, candidate_shift[i]));
  }
  for (size_t i = 0; i < reach.bounds.points.size(); ++i)
    rows.push_back(row_json(reach.bounds.points[i], point_shift[i]));
  if (!oracle_test.shifts.empty()) {
    ReachPoint point;
    point.bound = "oracle";
    point.control_class = "oracle";
    if (!reach.oracle_train.shifts.empty()) point.train_pp = reach.oracle_train.shifts.back().value_pp;
    if (!reach.oracle_validation.shifts.empty()) point.validation_pp = reach.oracle_validation.shifts.back().value_pp;
    point.dose_reason = "an oracle edits single tokens of the pairs only";
    rows.push_back(row_json(point, oracle_test.shifts.back()));
  }
  const auto has = [&](const char* bound) {
    return std::any_of(rows.begin(), rows.end(), [&](const OrderedJson& row) { return row.at("bound") == bound; });
  };
  for (const char* bound : {"conditional_tokens", "conditional_detector", "conditional_low_rank"})
    if (!has(bound))
      rows.push_back(
          not_run_json(bound, "conditional", "the texts of the train pairs have no demographic token that is fed"));
  if (!has("router_only")) rows.push_back(not_run_json("router_only", "router_only", oracle_test.reason));
  if (!has("oracle")) rows.push_back(not_run_json("oracle", "oracle", oracle_test.reason));

  OrderedJson json;
  json["rows"] = rows;
  json["searched"] = reach.found.searched;
  json["detectors"] = OrderedJson::array();
  for (const Detector& detector : reach.found.detectors) {
    OrderedJson row = {{"layer", detector.layer}};
    put_field(row, "auc", detector.auc, "every validation token is of one kind");
    json["detectors"].push_back(row);
  }
  json["router_restarts"] = OrderedJson::array();
  for (const ReachFound::Restart& restart : reach.found.router_restarts)
    json["router_restarts"].push_back({{"learning_rate", restart.learning_rate},
                                       {"preference_accuracy", restart.preference_accuracy},
                                       {"adoption", restart.adoption}});
  json["oracle"] = OrderedJson::array();
  for (const auto& [curve, split] :
       {std::pair{&reach.oracle_train, "train"}, {&reach.oracle_validation, "validation"}, {&oracle_test, "test"}})
    for (const OrderedJson& row : curve_json(*curve, split)) json["oracle"].push_back(row);
  json["reading"] = reading(rows, thresholds);
  return json;
}

}  // namespace fare
