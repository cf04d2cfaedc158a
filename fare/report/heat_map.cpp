#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/svg.h"

namespace fare {
namespace {

constexpr int kSteps = 5;  // colour steps on each side of 0, or from low to high times two

}  // namespace

std::string draw_heat_map(const HeatMap& map) {
  size_t num_columns = 1;
  double low = 0, high = 0;
  bool any = false;
  for (const auto& row : map.value_LE) {
    num_columns = std::max(num_columns, row.size());
    for (const auto& value : row) {
      if (!value) continue;
      low = any ? std::min(low, *value) : *value;
      high = any ? std::max(high, *value) : *value;
      any = true;
    }
  }
  if (map.is_signed) {
    high = std::max(std::abs(low), std::abs(high));
    low = -high;
  }
  const double width = 480, left = 30, top = 26;
  const double cell_w = std::min(32.0, (width - left - 4) / static_cast<double>(num_columns));
  const double cell_h = std::clamp(cell_w, 9.0, 22.0);
  const double bottom = top + cell_h * static_cast<double>(map.value_LE.size());
  Svg svg(width, bottom + 50, map.title);
  svg.text(4, 14, map.title, "start", "head");

  // One path per colour keeps a map of thousands of cells small.
  std::map<std::string, std::string> path_of_class;
  for (size_t l = 0; l < map.value_LE.size(); ++l) {
    const double y = top + cell_h * static_cast<double>(l);
    for (size_t e = 0; e < map.value_LE[l].size(); ++e) {
      const auto& value = map.value_LE[l][e];
      std::string colour = "na";
      if (value) {
        const double share = high > low ? (*value - low) / (high - low) : map.is_signed ? 0.5 : 0.0;
        const int step = std::clamp(static_cast<int>(std::lround(share * 2 * kSteps)), 0, 2 * kSteps);
        colour = (map.is_signed ? "d" : "q") + std::to_string(step);
      }
      path_of_class[colour] +=
          fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", left + cell_w * static_cast<double>(e), y, cell_w - 0.5,
                      cell_h - 0.5, cell_w - 0.5);
    }
    const size_t every = map.value_LE.size() > 24 ? 4 : 1;
    if (l % every == 0 && l < map.row_labels_L.size())
      svg.text(left - 5, y + cell_h / 2 + 4, map.row_labels_L[l], "end", "tick");
  }
  for (const auto& [colour, path] : path_of_class) svg.path(path, colour);
  const size_t every = num_columns > 64 ? 16 : num_columns > 24 ? 8 : num_columns > 12 ? 2 : 1;
  for (size_t e = 0; e < num_columns; e += every)
    svg.text(left + cell_w * (static_cast<double>(e) + 0.5), bottom + 13, std::to_string(e), "middle", "tick");

  const double legend = bottom + 28;
  svg.text(4, legend + 10, "layer down, expert across", "start", "tick");
  if (any) {
    const double ramp = width - 150;
    for (int step = 0; step <= 2 * kSteps; ++step)
      svg.rect(ramp + 8.0 * step, legend, 8, 12, (map.is_signed ? "d" : "q") + std::to_string(step));
    svg.text(ramp - 5, legend + 10, fixed_text(low, map.digits), "end", "tick");
    svg.text(ramp + 8.0 * (2 * kSteps + 1) + 5, legend + 10, fixed_text(high, map.digits), "start", "tick");
  }
  return svg.str();
}

}  // namespace fare
