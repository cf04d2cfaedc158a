// A small drawing surface: shapes in, one inline <svg> out. Colours come from CSS classes of the page, so that dark
// mode and print need no second drawing. Coordinates are the units of the view box; y grows downwards.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fare {

// A linear map from data to drawing units.
struct Scale {
  double data_low = 0, data_high = 1;
  double from = 0, to = 1;
  double operator()(double value) const { return from + (value - data_low) / (data_high - data_low) * (to - from); }
};

// About `count` round numbers inside [low, high], ascending.
std::vector<double> round_ticks(double low, double high, int count);

// `low`..`high` widened by 4% on both sides, never empty: a single value by half of itself, 0 by 1.
void widen(double& low, double& high);

// An upper estimate of the width of a text in drawing units at the page's 13-unit font (bold ones too).
double text_width(std::string_view text);

// The text, shortened with "…" until its estimated width fits.
std::string fit_text(std::string_view text, double width);

class Svg {
 public:
  // `title` is read by screen readers and shown on hover (plain text).
  Svg(double width, double height, std::string_view title);

  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void rect(double x, double y, double width, double height, std::string_view css_class);
  // `hover` (plain text) may be empty.
  void circle(double x, double y, double radius, std::string_view css_class, std::string_view hover = "");
  void cross(double x, double y, double arm, std::string_view css_class, std::string_view hover = "");
  void polyline(const std::vector<std::pair<double, double>>& points, std::string_view css_class);
  // A path with the `d` given (ours, not data).
  void path(std::string_view d, std::string_view css_class);
  // `anchor`: start, middle or end. `text` is plain. `rotate`: turned by 90 degrees to read upwards.
  void text(double x, double y, std::string_view text, std::string_view anchor = "start",
            std::string_view css_class = "", bool rotate = false, std::string_view hover = "");

  // Frame of a chart: grid lines and numbers for both axes, and their names. A vertical axis without name is left out.
  void x_axis(const Scale& x, double y_top, double y_bottom, std::string_view name, int ticks = 6);
  void y_axis(const Scale& y, double x_left, double x_right, std::string_view name, int ticks = 5);

  std::string str() const;

 private:
  double width_, height_;
  std::string body_;
};

// A drawing with its caption underneath (HTML).
std::string figure(const std::string& svg, const std::string& caption_html, bool is_wide = false);

}  // namespace fare
