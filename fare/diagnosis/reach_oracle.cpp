#include "fare/diagnosis/reach.h"

namespace fare {

OracleCurve measure_oracle(const Measurer& measurer, std::span<const int64_t> pairs, const std::vector<int>& signs,
                           const ReachOptions& how, const DiagnosisOptions& options, const std::string& label) {
  const Study& study = measurer.study();
  const ReachBatches batches(measurer.scorer(), study);
  OracleCurve curve;
  const CriticalRowsResult critical = critical_rows(batches, pairs);
  if (!critical.rows) {
    curve.reason = critical.reason;
    return curve;
  }
  curve.draws = how.oracle_draws;
  const auto as_margins = [](const std::vector<double>& sums) {
    std::vector<Margins> margins;
    for (const double sum : sums) margins.push_back({sum, sum, std::nullopt});
    return margins;
  };
  const std::vector<Margins> base = as_margins(critical.rows->margin);
  for (const auto& margins : oracle_margins(batches.model(), study, *critical.rows, signs, curve.draws, options.seed))
    curve.shifts.push_back(measure_shift(study, critical.rows->pairs, base, as_margins(margins), signs, MarginScoring::kSum, options,
                                         "oracle/" + label));
  return curve;
}

}  // namespace fare
