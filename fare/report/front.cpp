#include <algorithm>
#include <cmath>

#include "fare/report/charts.h"
#include "fare/report/svg.h"

namespace fare {
namespace {

// The staircase of a front: nothing at its right and below is better.
std::vector<std::pair<double, double>> staircase(const std::vector<std::pair<double, double>>& front, const Scale& x,
                                                 const Scale& y, double right) {
  std::vector<std::pair<double, double>> points;
  for (const auto& [drop, shift] : front) {
    if (!points.empty()) points.emplace_back(x(drop), points.back().second);
    points.emplace_back(x(drop), y(shift));
  }
  if (!points.empty()) points.emplace_back(right, points.back().second);
  return points;
}

}  // namespace

std::string draw_front(const Front& front) {
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
  const auto reach = [&](double drop, double shift) {
    x_low = std::min(x_low, drop);
    x_high = std::max(x_high, drop);
    y_low = std::min(y_low, shift);
    y_high = std::max(y_high, shift);
  };
  for (const FrontPoint& point : front.points) reach(point.drop, point.shift);
  for (const FrontEstimate& estimate : front.estimates) {
    reach(estimate.drop, estimate.shift);
    if (estimate.drop_range)
      reach(estimate.drop_range->low, estimate.shift), reach(estimate.drop_range->high, estimate.shift);
    if (estimate.shift_range)
      reach(estimate.drop, estimate.shift_range->low), reach(estimate.drop, estimate.shift_range->high);
  }
  if (front.tau) reach(*front.tau, 0);
  if (front.delta) reach(0, *front.delta);
  widen(x_low, x_high);
  widen(y_low, y_high);

  const double width = 640, height = 440, left = 58, right = width - 14, top = 84, bottom = height - 48;
  const Scale x{x_low, x_high, left, right};
  const Scale y{y_low, y_high, bottom, top};
  Svg svg(width, height, front.title);
  svg.text(4, 16, front.title, "start", "head");

  // Legend, in two lines above the plot.
  double at = 8, row = 37;
  const auto legend = [&](const char* name, double length, const auto& draw) {
    draw(at + 7, row);
    svg.text(at + 18, row + 4, name, "start", "tick");
    at += length;
  };
  legend("searched", 84, [&](double cx, double cy) { svg.circle(cx, cy, 3.6, "point l1"); });
  legend("kept to the last rung", 152, [&](double cx, double cy) { svg.circle(cx, cy, 4.4, "point l2"); });
  legend("random ranking", 120, [&](double cx, double cy) { svg.cross(cx, cy, 3.4, "random"); });
  at = 8;
  row = 57;
  legend("front", 84, [&](double cx, double cy) { svg.line(cx - 7, cy, cx + 7, cy, "front"); });
  legend("front of random rankings", 196,
         [&](double cx, double cy) { svg.line(cx - 7, cy, cx + 7, cy, "random-front"); });
  legend("carried to the test split, 95% intervals", 200, [&](double cx, double cy) {
    svg.line(cx - 7, cy, cx + 7, cy, "bar strong");
    svg.circle(cx, cy, 4.4, "mark strong");
  });

  svg.x_axis(x, top, bottom, "loss of utility, percentage points (to the right: worse)", 8);
  svg.y_axis(y, left, right, "shift, pp (up: less bias)", 7);
  if (front.delta) {
    svg.line(left, y(*front.delta), right, y(*front.delta), "limit");
    svg.text(right - 4, y(*front.delta) - 5, "delta_B", "end", "limit-name");
  }
  if (front.tau) {
    svg.line(x(*front.tau), top, x(*front.tau), bottom, "limit");
    svg.text(x(*front.tau) + 4, bottom - 6, "tau", "start", "limit-name");
  }
  for (const FrontPoint& point : front.points) {
    if (point.is_random) svg.cross(x(point.drop), y(point.shift), 3.4, "random", point.hover);
    else
      svg.circle(x(point.drop), y(point.shift), point.level >= 2 ? 4.4 : 3.6,
                 "point l" + std::to_string(std::clamp(point.level, 0, 2)), point.hover);
  }
  svg.polyline(staircase(front.random_front, x, y, right), "random-front");
  svg.polyline(staircase(front.front, x, y, right), "front");
  // Names stand beside their marks; where two would overlap the lower one moves down.
  constexpr double kLineHeight = 15;
  std::vector<std::pair<double, double>> names;  // left end and line of those that stand
  std::vector<const FrontEstimate*> from_top;
  for (const FrontEstimate& estimate : front.estimates) from_top.push_back(&estimate);
  std::stable_sort(from_top.begin(), from_top.end(), [](const auto* a, const auto* b) { return a->shift > b->shift; });
  for (const FrontEstimate* one : from_top) {
    const FrontEstimate& estimate = *one;
    const double cx = x(estimate.drop), cy = y(estimate.shift);
    if (estimate.drop_range) svg.line(x(estimate.drop_range->low), cy, x(estimate.drop_range->high), cy, "bar strong");
    if (estimate.shift_range)
      svg.line(cx, y(estimate.shift_range->low), cx, y(estimate.shift_range->high), "bar strong");
    svg.circle(cx, cy, 5, "mark strong", estimate.label);
    const bool at_right = cx > (left + right) / 2;
    const std::string name = fit_text(estimate.label, (right - left) / 2);
    const double begin = at_right ? cx - 9 - text_width(name) : cx + 9;
    double line = cy - 9;
    for (const auto& [other_begin, other_line] : names)
      if (std::abs(other_begin - begin) < (right - left) / 2 && line < other_line + kLineHeight)
        line = other_line + kLineHeight;
    names.emplace_back(begin, line);
    svg.text(cx + (at_right ? -9 : 9), line, name, at_right ? "end" : "start", "strong halo");
  }
  return svg.str();
}

}  // namespace fare
