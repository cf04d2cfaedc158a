#include <algorithm>
#include <cmath>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/svg.h"

namespace fare {

std::string draw_budget_curve(const BudgetCurve& curve) {
  double y_low = 0, y_high = 0, budget_high = 2;
  for (const auto& [budget, value] : curve.points) {
    y_low = std::min(y_low, value);
    y_high = std::max(y_high, value);
    budget_high = std::max(budget_high, budget);
  }
  widen(y_low, y_high);
  const double width = 480, height = 260, left = 58, right = width - 14, top = 34, bottom = height - 48;
  const Scale x{0, std::log2(budget_high), left + 8, right - 8};
  const Scale y{y_low, y_high, bottom, top};
  Svg svg(width, height, curve.title);
  svg.text(4, 16, curve.title, "start", "head");
  svg.y_axis(y, left, right, curve.axis);
  const int every = budget_high > 512 ? 2 : 1;
  for (int power = 0; power <= static_cast<int>(std::log2(budget_high) + 1e-9); power += every) {
    svg.line(x(power), top, x(power), bottom, "grid");
    svg.text(x(power), bottom + 16, std::to_string(1 << power), "middle", "tick");
  }
  svg.text((left + right) / 2, bottom + 34, "configurations tried", "middle", "axis");
  std::vector<std::pair<double, double>> points;
  for (const auto& [budget, value] : curve.points) points.emplace_back(x(std::log2(std::max(1.0, budget))), y(value));
  svg.polyline(points, "front");
  for (size_t i = 0; i < points.size(); ++i)
    svg.circle(points[i].first, points[i].second, 4, "mark strong",
               compact_text(curve.points[i].first) + " tried: " + fixed_text(curve.points[i].second, 2));
  return svg.str();
}

}  // namespace fare
