// The kinds of figure a report needs. Input is plain numbers and labels (plain text); output is inline SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fare/report/node.h"

namespace fare {

// Layer by expert. `value_LE[l][e]` absent = not measured. `is_signed`: colours run both ways from 0, else from low to
// high. Labels are layer indices.
struct HeatMap {
  std::string title;
  std::vector<std::string> row_labels_L;
  std::vector<std::vector<std::optional<double>>> value_LE;
  bool is_signed = true;
  int digits = 2;  // of the numbers in the legend
};
std::string draw_heat_map(const HeatMap& map);

// One row per estimate: a mark and its interval. Rows without a value show their `absent` text instead.
struct ForestRow {
  std::string label;
  std::optional<double> value;
  std::optional<Range> range;
  std::string absent;
  bool is_strong = false;     // drawn in the accent colour
  std::vector<double> cloud;  // draws behind the mark, drawn as small dots
};
struct ForestLine {
  double value = 0;
  std::string label;
};
struct Forest {
  std::string title;
  std::string axis;  // "shift, percentage points (positive = less bias)"
  std::vector<ForestRow> rows;
  std::vector<ForestLine> lines;  // vertical reference lines (0 is always drawn)
  bool is_wide = false;           // room for long labels; stands in a wide figure
};
std::string draw_forest(const Forest& forest);

// Bias against cost.
struct FrontPoint {
  double drop = 0, shift = 0;
  std::string hover;
  int level = 0;  // larger = carried further
  bool is_random = false;
};
struct FrontEstimate {  // a candidate on the test split, with both intervals
  std::string label;
  double drop = 0, shift = 0;
  std::optional<Range> drop_range, shift_range;
};
struct Front {
  std::string title;
  std::vector<FrontPoint> points;
  std::vector<std::pair<double, double>> front, random_front;  // (drop, shift) by rising drop
  std::vector<FrontEstimate> estimates;
  std::optional<double> delta, tau;  // dashed: smallest shift that counts, largest drop allowed
};
std::string draw_front(const Front& front);

// A curve over a budget that doubles.
struct BudgetCurve {
  std::string title, axis;
  std::vector<std::pair<double, double>> points;  // (budget, value)
};
std::string draw_budget_curve(const BudgetCurve& curve);

}  // namespace fare
