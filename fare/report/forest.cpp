#include <algorithm>

#include "fare/report/charts.h"
#include "fare/report/svg.h"

namespace fare {
namespace {

constexpr double kWidestLabel = 190, kWidestLabelOfWide = 400;

}  // namespace

std::string draw_forest(const Forest& forest) {
  double low = 0, high = 0;
  const auto reach = [&](double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const ForestRow& row : forest.rows) {
    if (row.value) reach(*row.value);
    if (row.range) reach(row.range->low), reach(row.range->high);
    for (const double value : row.cloud) reach(value);
  }
  for (const ForestLine& line : forest.lines) reach(line.value);
  widen(low, high);

  const double widest_label = forest.is_wide ? kWidestLabelOfWide : kWidestLabel;
  double widest = 50;
  for (const ForestRow& row : forest.rows) widest = std::max(widest, std::min(widest_label, text_width(row.label)));
  const double width = forest.is_wide ? 820 : 480, left = widest + 12, right = width - 14, top = 44, step = 25;
  const double bottom = top + step * static_cast<double>(std::max<size_t>(1, forest.rows.size()));
  const Scale x{low, high, left, right};
  Svg svg(width, bottom + 44, forest.title);
  svg.text(4, 16, forest.title, "start", "head");
  svg.x_axis(x, top - 6, bottom, forest.axis);
  svg.line(x(0), top - 6, x(0), bottom, "zero");
  for (const ForestLine& line : forest.lines) {
    svg.line(x(line.value), top - 6, x(line.value), bottom, "limit");
    const bool at_right = x(line.value) > (left + right) / 2;
    svg.text(x(line.value) + (at_right ? -3 : 3), top - 10, line.label, at_right ? "end" : "start", "limit-name");
  }
  for (size_t i = 0; i < forest.rows.size(); ++i) {
    const ForestRow& row = forest.rows[i];
    const double y = top + step * (static_cast<double>(i) + 0.5);
    svg.text(left - 8, y + 4, fit_text(row.label, widest_label), "end", row.is_strong ? "strong" : "", false,
             row.label);
    for (const double value : row.cloud) svg.circle(x(value), y, 2.2, "cloud");
    const std::string css = row.is_strong ? "mark strong" : "mark";
    if (row.range) {
      svg.line(x(row.range->low), y, x(row.range->high), y, row.is_strong ? "bar strong" : "bar");
      for (const double end : {row.range->low, row.range->high})
        svg.line(x(end), y - 4, x(end), y + 4, row.is_strong ? "bar strong" : "bar");
    }
    if (row.value) svg.circle(x(*row.value), y, 4.2, css);
    else svg.text(left + 6, y + 4, fit_text(row.absent, right - left), "start", "absent", false, row.absent);
  }
  return svg.str();
}

}  // namespace fare
