#include "fare/diagnosis/outcome_source.h"

#include <algorithm>

#include "fare/core/json.h"
#include "fare/core/sha256.h"

namespace fare {

bool same_outcomes(const Outcomes& a, const Outcomes& b) {
  const auto same_pair = [](const Margins& x, const Margins& y) { return x.sum == y.sum && x.shared == y.shared; };
  const auto same_item = [](const UtilityOutcome& x, const UtilityOutcome& y) { return x.margin == y.margin; };
  return std::equal(a.pairs.begin(), a.pairs.end(), b.pairs.begin(), b.pairs.end(), same_pair) &&
         std::equal(a.utility.begin(), a.utility.end(), b.utility.begin(), b.utility.end(), same_item);
}

std::string intervention_key(const Intervention* intervention) {
  if (intervention == nullptr || intervention->edits.empty()) return "";
  OrderedJson json = intervention->to_json();
  return sha256_hex(json.at("edits").dump());
}

}  // namespace fare
