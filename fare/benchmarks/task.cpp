#include "fare/benchmarks/task.h"

#include "fare/core/error.h"

namespace fare {

bool is_fair_metric(const std::string& name) { return name.rfind("fare_", 0) == 0; }

void check_result_count(const Document& document, std::span<const RequestResult> results) {
  FARE_CHECK(results.size() == document.requests.size(),
             "item '" + document.item + "' has " + std::to_string(document.requests.size()) + " requests but " +
                 std::to_string(results.size()) + " results");
}

TextFilter no_filter() {
  return {"none", [](const std::string& text) { return text; }};
}

std::vector<TextFilter> filters_of(const Task& task) {
  return task.filters.empty() ? std::vector{no_filter()} : task.filters;
}

}  // namespace fare
