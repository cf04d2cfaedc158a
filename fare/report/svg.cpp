#include "fare/report/svg.h"

#include <fmt/format.h>

#include <cmath>

#include "fare/report/html.h"

namespace fare {
namespace {

// Coordinates with a tenth of a unit: exact enough to draw, short enough for thousands of marks.
std::string u(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string hover_title(std::string_view hover) {
  return hover.empty() ? "" : "<title>" + escape_html(hover) + "</title>";
}

std::string tick_text(double value, double step) {
  const int digits = step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  return fixed_text(value, digits);
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  const double raw = (high - low) / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power * 10;
  for (const double factor : {1.0, 2.0, 5.0})
    if (power * factor >= raw * 0.999) {
      step = power * factor;
      break;
    }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push_back(i * step);
  return ticks;
}

void widen(double& low, double& high) {
  const double room = high > low ? 0.04 * (high - low) : (low == 0 ? 1 : 0.5 * std::abs(low));
  low -= room;
  high += room;
}

namespace {

// One character of UTF-8 from `at` on: its number of bytes and estimated width.
std::pair<size_t, double> character(std::string_view text, size_t at) {
  size_t bytes = 1;
  while (at + bytes < text.size() && (text[at + bytes] & 0xC0) == 0x80) ++bytes;
  if (bytes > 1) return {bytes, 14.0};
  const char c = text[at];
  if (c == 'W' || c == 'M' || c == '@' || c == '%') return {1, 14.5};
  if (c == 'm' || c == 'w') return {1, 13.5};
  if (c >= 'A' && c <= 'Z') return {1, 11.0};
  if (std::string_view("iljftrI.,:;|!'()[] ").find(c) != std::string_view::npos) return {1, 6.0};
  return {1, 9.0};
}

}  // namespace

double text_width(std::string_view text) {
  double width = 0;
  for (size_t at = 0; at < text.size();) {
    const auto [bytes, advance] = character(text, at);
    width += advance;
    at += bytes;
  }
  return width;
}

std::string fit_text(std::string_view text, double width) {
  if (text_width(text) <= width) return std::string(text);
  double used = 13;  // the ellipsis
  size_t at = 0;
  while (at < text.size()) {
    const auto [bytes, advance] = character(text, at);
    if (used + advance > width) break;
    used += advance;
    at += bytes;
  }
  return std::string(text.substr(0, at)) + "…";
}

Svg::Svg(double width, double height, std::string_view title) : width_(width), height_(height) {
  body_ = "<title>" + escape_html(title) + "</title>\n";
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  body_ += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{}\"/>\n", u(x1), u(y1), u(x2), u(y2),
                       css_class);
}

void Svg::rect(double x, double y, double width, double height, std::string_view css_class) {
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{}\"/>\n", u(x), u(y), u(width),
                       u(height), css_class);
}

void Svg::circle(double x, double y, double radius, std::string_view css_class, std::string_view hover) {
  body_ += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" class=\"{}\">{}</circle>\n", u(x), u(y), u(radius),
                       css_class, hover_title(hover));
}

void Svg::cross(double x, double y, double arm, std::string_view css_class, std::string_view hover) {
  body_ += fmt::format("<path d=\"M{0} {1}l{2} {2}M{0} {3}l{2} -{2}\" class=\"{4}\">{5}</path>\n", u(x - arm),
                       u(y - arm), u(2 * arm), u(y + arm), css_class, hover_title(hover));
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, std::string_view css_class) {
  std::string list;
  for (const auto& [x, y] : points) list += (list.empty() ? "" : " ") + u(x) + "," + u(y);
  body_ += fmt::format("<polyline points=\"{}\" class=\"{}\"/>\n", list, css_class);
}

void Svg::path(std::string_view d, std::string_view css_class) {
  body_ += fmt::format("<path d=\"{}\" class=\"{}\"/>\n", d, css_class);
}

void Svg::text(double x, double y, std::string_view text, std::string_view anchor, std::string_view css_class,
               bool rotate, std::string_view hover) {
  body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\"{}{}>{}{}</text>\n", u(x), u(y), anchor,
                       css_class.empty() ? "" : fmt::format(" class=\"{}\"", css_class),
                       rotate ? fmt::format(" transform=\"rotate(-90 {} {})\"", u(x), u(y)) : "", escape_html(text),
                       hover_title(hover));
}

void Svg::x_axis(const Scale& x, double y_top, double y_bottom, std::string_view name, int ticks) {
  const auto at = round_ticks(x.data_low, x.data_high, ticks);
  const double step = at.size() > 1 ? at[1] - at[0] : 1;
  for (const double tick : at) {
    line(x(tick), y_top, x(tick), y_bottom, std::abs(tick) < step * 1e-6 ? "zero" : "grid");
    text(x(tick), y_bottom + 16, tick_text(tick, step), "middle", "tick");
  }
  text((x.from + x.to) / 2, y_bottom + 34, name, "middle", "axis");
}

void Svg::y_axis(const Scale& y, double x_left, double x_right, std::string_view name, int ticks) {
  const auto at = round_ticks(y.data_low, y.data_high, ticks);
  const double step = at.size() > 1 ? at[1] - at[0] : 1;
  for (const double tick : at) {
    line(x_left, y(tick), x_right, y(tick), std::abs(tick) < step * 1e-6 ? "zero" : "grid");
    text(x_left - 6, y(tick) + 4, tick_text(tick, step), "end", "tick");
  }
  text(14, (y.from + y.to) / 2, name, "middle", "axis", true);
}

std::string Svg::str() const {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\">\n{}</svg>\n", u(width_), u(height_), body_);
}

std::string figure(const std::string& svg, const std::string& caption_html, bool is_wide) {
  return std::string("<figure") + (is_wide ? " class=\"wide\"" : "") + ">\n" + svg + "<figcaption>" + caption_html +
         "</figcaption>\n</figure>\n";
}

}  // namespace fare
