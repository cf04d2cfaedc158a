// JSON fields that may be undefined: a value, or null with the reason in a sibling NAME_reason (docs/report-json.md).
#pragma once

#include <optional>
#include <string>

#include "fare/core/json.h"
#include "fare/stats/outcome.h"

namespace fare {

inline void put_null(OrderedJson& row, const std::string& name, const std::string& reason) {
  row[name] = nullptr;
  row[name + "_reason"] = reason;
}

template <typename T>
void put_field(OrderedJson& row, const std::string& name, const std::optional<T>& value, const std::string& reason) {
  if (value) row[name] = *value;
  else put_null(row, name, reason);
}

// [low, high]
inline void put_interval(OrderedJson& row, const std::string& name, const std::optional<stats::Interval>& interval,
                         const std::string& reason) {
  if (interval) row[name] = OrderedJson::array({interval->low, interval->high});
  else put_null(row, name, reason);
}

}  // namespace fare
