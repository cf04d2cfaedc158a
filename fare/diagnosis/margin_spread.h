// Margins of demographic pairs beside those of pairs whose difference has nothing to do with groups. Where words that
// are equally unmarked move the margin as much, the margin speaks of words, not of groups (Pikuliak et al. 2023).
#pragma once

#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/outcome_source.h"

namespace fare {

struct MarginSpread {
  std::string pairs;            // "demographic", "N1", "N2" or "N3" (null_pairs.h)
  std::vector<double> margins;  // nats, sum scoring; a null's sign says only which text it names first
};

// The pairs of train, then their nulls of each kind, in the order above; a kind without pairs has no margins.
std::vector<MarginSpread> measure_margin_spread(OutcomeSource& source);

OrderedJson margin_spread_json(const std::vector<MarginSpread>& spreads);  // "bias.margins" of report.json

}  // namespace fare
