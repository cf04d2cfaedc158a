#include "fare/calibration/rate.h"

#include <algorithm>

#include "fare/stats/proportions.h"

namespace fare {

void put_rate(OrderedJson& json, const std::string& name, const Rate& rate, const std::string& reason) {
  const auto interval = stats::wilson_interval(rate.hits, rate.of, 0.95);
  for (const char* end : {"", "_low", "_high"}) {
    const std::string field = name + end;
    if (!interval) {
      json[field] = nullptr;
      json[field + "_reason"] = reason;
      continue;
    }
    json[field] = *end == '\0' ? rate.share() : std::string(end) == "_low" ? interval->low : interval->high;
  }
}

void Mark::see(double seen, const std::string& place) {
  // To the limits that a share can pass: 0 and 1 are none.
  const auto room = [&](double v) { return std::min(low > 0 ? v - low : 1, high < 1 ? high - v : 1); };
  if (cells++ == 0 || room(seen) < room(value)) {
    value = seen;
    where = place;
  }
  passed &= lenient || (seen >= low && seen <= high);
}

void Mark::see(const Rate& rate, const std::string& place) {
  if (rate.of == 0) return;
  see(rate.share(), place);
  const auto interval = stats::wilson_interval(rate.hits, rate.of, 0.95);
  passed &= !lenient || (interval->high >= low && interval->low <= high);
}

OrderedJson mark_json(const Mark& mark) {
  OrderedJson json;
  json["mark"] = mark.mark;
  const bool judged = mark.cells > 0;
  const auto put = [&](const char* field, const OrderedJson& value) {
    json[field] = judged ? value : OrderedJson(nullptr);
    if (!judged) json[std::string(field) + "_reason"] = "no cell of this run bears on it";
  };
  put("passed", mark.passed);
  put("value", mark.value);
  put("where", mark.where);
  json["low"] = mark.low;
  json["high"] = mark.high;
  json["cells"] = mark.cells;
  return json;
}

}  // namespace fare
