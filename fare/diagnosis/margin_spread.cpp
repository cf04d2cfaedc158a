#include "fare/diagnosis/margin_spread.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

constexpr double kQuantiles[] = {0.25, 0.5, 0.75, 0.95};

}  // namespace

std::vector<MarginSpread> measure_margin_spread(OutcomeSource& source) {
  const Study& study = source.study();
  std::vector<MarginSpread> spreads = {{"demographic", {}}, {"N1", {}}, {"N2", {}}, {"N3", {}}};
  Items items;
  items.part = "control-pairs";
  items.pairs = study.pairs_in(SplitPart::kTrain);
  const std::set<int64_t> train(items.pairs.begin(), items.pairs.end());
  for (size_t n = 0; n < study.nulls.size(); ++n)
    if (train.contains(study.null_of[n])) items.nulls.push_back(static_cast<int64_t>(n));
  const Outcomes base = source.base(items);
  for (size_t i = 0; i < items.pairs.size(); ++i) spreads[0].margins.push_back(base.pairs[i].sum);
  for (size_t i = 0; i < items.nulls.size(); ++i) {
    const std::string kind = null_name(study.nulls[static_cast<size_t>(items.nulls[i])].pair.kind);
    std::ranges::find(spreads, kind, &MarginSpread::pairs)->margins.push_back(base.pairs[items.pairs.size() + i].sum);
  }
  return spreads;
}

OrderedJson margin_spread_json(const std::vector<MarginSpread>& spreads) {
  OrderedJson rows = OrderedJson::array();
  for (const MarginSpread& spread : spreads) {
    OrderedJson row{{"pairs", spread.pairs}, {"n", spread.margins.size()}};
    const auto put = [&](const char* name, const stats::Outcome<double>& value) {
      if (value) row[name] = *value;
      else put_null(row, name, spread.margins.empty() ? "no such pairs" : value.reason);
    };
    std::vector<double> sizes;
    for (const double m : spread.margins) sizes.push_back(std::abs(m));
    put("mean_nats", stats::mean(spread.margins));
    put("sd_nats", stats::sample_sd(spread.margins));
    OrderedJson quantiles = OrderedJson::array();
    for (const double q : kQuantiles)
      if (!sizes.empty()) quantiles.push_back(stats::quantile(sizes, q));
    if (sizes.empty()) put_null(row, "size_quantiles_nats", "no such pairs");
    else row["size_quantiles_nats"] = quantiles;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace fare
