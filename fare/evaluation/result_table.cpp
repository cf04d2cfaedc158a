#include "fare/evaluation/result_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

namespace fare {
namespace {

using Cells = std::vector<std::string>;

struct Column {
  std::string head;
  bool right = false;  // aligned
};

std::string decimals(const OrderedJson& value) {
  if (!value.is_number()) return "N/A";
  const double number = value.get<double>();
  if (std::isnan(number)) return "NaN";
  char text[64];
  std::snprintf(text, sizeof text, "%.4f", number);
  return text;
}

size_t width(const std::string& text) {  // of the few characters used here: one column per code point
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string table(const std::vector<Column>& columns, const std::vector<Cells>& rows) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    widths.push_back(std::max<size_t>(3, width(columns[c].head)));
    for (const Cells& row : rows) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string text = "|";
  for (size_t c = 0; c < columns.size(); ++c) {  // heads stand in the middle
    const size_t space = widths[c] - width(columns[c].head);
    text += std::string(space / 2, ' ') + columns[c].head + std::string(space - space / 2, ' ') + "|";
  }
  text += "\n|";
  for (size_t c = 0; c < columns.size(); ++c)
    text += std::string(widths[c] - (columns[c].right ? 1 : 0), '-') + (columns[c].right ? ":|" : "|");
  text += "\n";
  for (const Cells& row : rows) {
    text += "|";
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string space(widths[c] - width(row[c]), ' ');
      text += (columns[c].right ? space + row[c] : row[c] + space) + "|";
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string result_table(const OrderedJson& results) {
  std::vector<Cells> rows;
  for (const auto& [task, entry] : results.at("results").items()) {
    std::map<std::string, OrderedJson> sorted;
    for (const auto& [key, value] : entry.items())
      if (const size_t comma = key.find(','); comma != std::string::npos) sorted[key] = value;
    bool first = true;
    for (const auto& [key, value] : sorted) {
      const std::string metric = key.substr(0, key.find(',')), filter = key.substr(key.find(',') + 1);
      if (metric.ends_with("_stderr")) continue;
      const OrderedJson directions = results.at("higher_is_better").value(task, OrderedJson::object());
      const OrderedJson higher = directions.value(metric, OrderedJson(nullptr));
      const OrderedJson shots = results.at("n-shot").value(task, OrderedJson(nullptr));  // a group may have none
      const auto error = sorted.find(metric + "_stderr," + filter);
      rows.push_back({first ? entry.at("alias").get<std::string>() : "",
                      first ? results.at("versions").at(task).dump() : "", filter, shots.is_null() ? "" : shots.dump(),
                      metric,
                      higher.is_null()     ? ""
                      : higher.get<bool>() ? "↑"
                                           : "↓",
                      decimals(value), "±", error == sorted.end() ? "N/A" : decimals(error->second)});
      if (rows.back()[1].ends_with(".0")) rows.back()[1].resize(rows.back()[1].size() - 2);
      first = false;
    }
  }
  return table({{"Tasks"},
                {"Version", true},
                {"Filter"},
                {"n-shot", true},
                {"Metric"},
                {""},
                {"Value", true},
                {""},
                {"Stderr", true}},
               rows);
}

std::string comparison_table(const OrderedJson& results) {
  std::vector<Cells> rows;
  std::string last;
  for (const OrderedJson& entry : results.at("fare").at("comparisons")) {
    if (entry.at("estimate").is_null()) continue;  // undefined in a run; the file has the reason
    const std::string task = entry.at("task").get<std::string>();
    const OrderedJson& ci = entry.at("ci");
    std::string change = decimals(entry.at("estimate"));
    if (entry.at("estimate").is_number() && entry.at("estimate") > 0) change.insert(0, 1, '+');
    rows.push_back({task == last ? "" : task, entry.at("filter").get<std::string>(),
                    entry.at("metric").get<std::string>(), decimals(entry.at("baseline")), decimals(entry.at("value")),
                    change, ci.is_null() ? "N/A" : fmt::format("[{}, {}]", decimals(ci[0]), decimals(ci[1])),
                    decimals(entry.at("p")), decimals(entry.at("p_adjusted")), decimals(entry.at("mde"))});
    last = task;
  }
  return table({{"Tasks"},
                {"Filter"},
                {"Metric"},
                {"Baseline", true},
                {"Value", true},
                {"Change", true},
                {"95% interval", true},
                {"p", true},
                {"p adjusted", true},
                {"MDE", true}},
               rows);
}

}  // namespace fare
