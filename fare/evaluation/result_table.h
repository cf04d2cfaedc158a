// The results object as the table that users of the harness know.
#pragma once

#include <string>

#include "fare/core/json.h"

namespace fare {

// Markdown: Tasks, Version, Filter, n-shot, Metric, direction, Value, Stderr; one line per metric in the order of their
// names, four decimals; "N/A" for an undefined value. `results` is what results_object() makes.
std::string result_table(const OrderedJson& results);

}  // namespace fare
