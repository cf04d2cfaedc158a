// The results object as the table that users of the harness know.
#pragma once

#include <string>

#include "fare/core/json.h"

namespace fare {

// Markdown: Tasks, Version, Filter, n-shot, Metric, direction, Value, Stderr; one line per metric in the order of their
// names, four decimals; "N/A" for an undefined value. `results` is what results_object() makes.
std::string result_table(const OrderedJson& results);

// `fare.comparisons` likewise: Tasks, Filter, Metric, Baseline, Value, Change, 95% interval, p, p adjusted, and MDE,
// the change that 80% of such samples would show. Metrics undefined in a run are left out, other undefined numbers
// "N/A"; the file has the reasons.
std::string comparison_table(const OrderedJson& results);

}  // namespace fare
