#include "fare/evaluation/result_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

namespace fare {
namespace {

constexpr size_t kNumColumns = 9;
using Cells = std::array<std::string, kNumColumns>;
constexpr std::array<bool, kNumColumns> kRightAligned = {false, true, false, true, false, false, true, false, true};

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

std::string line(const Cells& cells, const std::array<size_t, kNumColumns>& widths, bool centred = false) {
  std::string text = "|";
  for (size_t c = 0; c < kNumColumns; ++c) {
    const size_t space = widths[c] - width(cells[c]);
    const size_t before = centred ? space / 2 : kRightAligned[c] ? space : 0;
    text += std::string(before, ' ') + cells[c] + std::string(space - before, ' ') + "|";
  }
  return text + "\n";
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
      const OrderedJson shots = results.at("n-shot").value(task, OrderedJson(nullptr));  // none for a group
      const auto error = sorted.find(metric + "_stderr," + filter);
      rows.push_back({first ? entry.at("alias").get<std::string>() : "",
                      first ? results.at("versions").at(task).dump() : "", filter,
                      shots.is_null() ? "" : shots.dump(), metric,
                      higher.is_null() ? "" : higher.get<bool>() ? "↑" : "↓", decimals(value), "±",
                      error == sorted.end() ? "N/A" : decimals(error->second)});
      if (rows.back()[1].ends_with(".0")) rows.back()[1].resize(rows.back()[1].size() - 2);
      first = false;
    }
  }
  const Cells head = {"Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"};
  std::array<size_t, kNumColumns> widths{};
  for (size_t c = 0; c < kNumColumns; ++c) {
    widths[c] = std::max<size_t>(3, head[c].size());
    for (const Cells& row : rows) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string text = line(head, widths, true) + "|";
  for (size_t c = 0; c < kNumColumns; ++c)
    text += std::string(widths[c] - (kRightAligned[c] ? 1 : 0), '-') + (kRightAligned[c] ? ":|" : "|");
  text += "\n";
  for (const Cells& row : rows) text += line(row, widths);
  return text;
}

}  // namespace fare
