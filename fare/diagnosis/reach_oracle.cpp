#include "fare/core/json.h"
#include "fare/diagnosis/reach.h"

namespace fare {

OracleCurve measure_oracle(Measurer& measurer, std::span<const int64_t> pairs, const std::vector<int>& signs,
                           const ReachOptions& how, const DiagnosisOptions& options, const std::string& label) {
  const Study& study = measurer.study();
  const std::vector<double> cost = {1};
  const std::string text = measurer
                               .kept("reach-oracle", std::vector<std::string>{label}, cost,
                                     [&](std::span<const size_t>) {
                                       const ReachBatches batches(measurer.scorer(), study);
                                       const CriticalRowsResult critical = critical_rows(batches, pairs);
                                       measurer.count_rows(batches.rows_computed());
                                       Json value = {{"reason", critical.reason}};
                                       if (critical.rows)
                                         value = {{"pairs", critical.rows->pairs},
                                                  {"base", critical.rows->margin},
                                                  {"best", oracle_margins(batches.model(), study, *critical.rows, signs,
                                                                          how.oracle_draws, options.seed)}};
                                       return std::vector<std::string>{value.dump()};
                                     })
                               .front();
  const Json value = Json::parse(text);
  OracleCurve curve;
  if (value.contains("reason")) {
    curve.reason = value.at("reason");
    return curve;
  }
  curve.draws = how.oracle_draws;
  const auto as_margins = [](const std::vector<double>& sums) {
    std::vector<Margins> margins;
    for (const double sum : sums) margins.push_back({sum, sum, std::nullopt});
    return margins;
  };
  const auto found = value.at("pairs").get<std::vector<int64_t>>();
  const std::vector<Margins> base = as_margins(value.at("base"));
  for (const Json& margins : value.at("best"))
    curve.shifts.push_back(
        measure_shift(study, found, base, as_margins(margins), signs, MarginScoring::kSum, options, "oracle/" + label));
  return curve;
}

}  // namespace fare
