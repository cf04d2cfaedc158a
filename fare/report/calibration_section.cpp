// How often the diagnosis errs where the answer is known: marks, power curve, coverage, confusion matrix.
#include <algorithm>
#include <map>
#include <set>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string percent(double share, int digits = 0) { return fixed_text(100 * share, digits) + "%"; }

std::string cell_name(const Node& cell) {
  return compact_text(cell.number("pairs")) + " pairs, " + percent(cell.number("flips")) + " noise";
}

// Share of samples in which the test of the shift rejects, against the shift that was planted.
std::string power_curve(const std::vector<Node>& cells) {
  std::map<std::pair<double, double>, std::vector<std::pair<double, double>>> curves;  // by (noise, pairs)
  double furthest = 1;
  for (const Node& cell : cells) {
    curves[{cell.number("flips"), cell.number("pairs")}].emplace_back(cell.number("shift_pp"), cell.number("rejected"));
    furthest = std::max(furthest, cell.number("shift_pp"));
  }
  const double width = 480, height = 300, left = 58, right = width - 14, top = 34, bottom = height - 48;
  const Scale x{0, furthest, left + 8, right - 8}, y{0, 1, bottom, top};
  Svg svg(width, height, "Power of the test of the shift against the planted shift");
  svg.text(4, 16, "Power of the test of the shift", "start", "head");
  svg.y_axis(y, left, right, "share of samples that reject");
  svg.x_axis(x, top, bottom, "planted shift, percentage points");
  svg.line(left, y(0.05), right, y(0.05), "limit");
  size_t at = 0;
  const double least_noise = curves.empty() ? 0 : curves.begin()->first.first;
  for (auto& [key, points] : curves) {
    const std::string name = compact_text(key.second) + " pairs, " + percent(key.first) + " noise";
    std::sort(points.begin(), points.end());
    std::vector<std::pair<double, double>> drawn;
    for (const auto& [shift, share] : points) drawn.emplace_back(x(shift), y(share));
    svg.polyline(drawn, key.first == least_noise ? "front" : "random-front");
    for (size_t i = 0; i < drawn.size(); ++i)
      svg.circle(drawn[i].first, drawn[i].second, 3, "mark",
                 name + ": " + percent(points[i].second, 1) + " at " + fixed_text(points[i].first, 1) + " pp");
    // Named beside its first point from 0.3 on, each a line lower than the one before.
    const auto seen = std::find_if(points.begin(), points.end(), [](const auto& point) { return point.second >= 0.3; });
    const double label_y = y(0.62) + 16 * static_cast<double>(at);
    svg.text(right - 4, label_y, name, "end", "tick");
    if (seen != points.end())
      svg.line(x(seen->first) + 4, y(seen->second), right - 8 - text_width(name), label_y - 4, "zero");
    ++at;
  }
  return figure(svg.str(),
                "Samples of a model from which a fixed edit takes a known part of the preference. Solid and dotted: "
                "little and much noise between the pairs. The dashed line is 5%: what a test at that level may reject "
                "at a planted shift of 0.");
}

std::string coverage_forest(const std::vector<Node>& cells) {
  Forest forest{"Coverage of the 95% interval", "share that holds the true shift", {}, {{0.95, "95%"}}};
  for (const Node& cell : cells)
    forest.rows.push_back({cell_name(cell) + ", " + fixed_text(cell.number("shift_pp"), 1) + " pp",
                           cell.number("covered"),
                           Range{cell.number("covered_low"), cell.number("covered_high")},
                           "",
                           cell.number("shift_pp") == 0,
                           {}});
  return "<details><summary>Coverage of the interval, cell by cell</summary>\n" +
         figure(draw_forest(forest),
                "Bars: 95% Wilson intervals of the share. With few pairs and hardly any that change, exact bounds "
                "stand in, which cover more than they promise.") +
         "</details>\n";
}

std::string confusion_table(const std::vector<Node>& rows) {
  std::set<std::string> verdicts;
  std::map<std::string, std::map<std::string, const Node*>> table;
  std::vector<std::string> kinds;
  for (const Node& row : rows) {
    std::string kind = row.text("kind") + (row.text("weights") == "raw" ? " raw" : "") + ", " +
                       compact_text(row.number("pairs")) + " pairs";
    if (!table.contains(kind)) kinds.push_back(kind);
    verdicts.insert(row.text("verdict"));
    table[kind][row.text("verdict")] = &row;
  }
  std::string html =
      "<p class=\"caption\">Verdicts given (columns) on models whose answer is known (rows), percent of the runs</p>\n"
      "<div class=\"scroll\"><table><thead><tr><th>Model</th>";
  for (const std::string& verdict : verdicts) html += "<th class=\"num\">" + escape_html(verdict) + "</th>";
  html += "<th class=\"num\">runs</th></tr></thead><tbody>\n";
  for (const std::string& kind : kinds) {
    html += "<tr><td>" + escape_html(kind) + "</td>";
    double of = 0;
    for (const std::string& verdict : verdicts) {
      const auto found = table[kind].find(verdict);
      if (found == table[kind].end()) {
        html += "<td class=\"num\"></td>";
        continue;
      }
      const Node& cell = *found->second;
      of = cell.number("of");
      const std::string share = percent(cell.number("count") / of);
      html += "<td class=\"num\">" + (cell.at("right").flag() ? "<strong>" + share + "</strong>" : share + " (wrong)") +
              "</td>";
    }
    html += "<td class=\"num\">" + compact_text(of) + "</td></tr>\n";
  }
  return html +
         "</tbody></table></div>\n<p>Bold: a verdict that is right for this model at this number of pairs. No text is "
         "generated "
         "here, so <em>unresolved at stage 5</em> is what a controllable model gets.</p>\n";
}

// What the figures mean for the verdict on this page.
std::string meaning(const Node& report, const Node& part) {
  std::string text = "<p>";
  if (!part.at("same_build").flag())
    text +=
        "<strong>These figures were measured with another build of the program than the one that made this "
        "page.</strong> ";
  if (part.text("interval") != report.at("thresholds").text("interval"))
    text += "<strong>These figures were measured with another kind of interval (" + escape_html(part.text("interval")) +
            ") than the one this page decides by.</strong> ";
  if (part.at("quick").flag())
    text +=
        "This was the quick calibration: few samples, so the shares below are known to a few percentage points only. ";
  int64_t missed = 0, judged = 0;
  for (const Node& mark : part.rows("marks")) {
    if (mark.at("passed").is_null()) continue;
    ++judged;
    missed += !mark.at("passed").flag();
  }
  text += compact_text(static_cast<double>(judged - missed)) + " of " + compact_text(static_cast<double>(judged)) +
          " pass marks hold. ";
  double worst = 0;
  for (const Node& cell : part.rows("fixed"))
    if (cell.number("shift_pp") == 0) worst = std::max(worst, cell.number("rejected"));
  text += "Where nothing moves the preference, the test of the shift says otherwise in at most " + percent(worst, 1) +
          " of the samples. ";
  const std::string code = report.at("headline").text("code");
  if (code == "unresolved" || code == "unachievable" || code == "insensitive" || code == "no_measurable_preference")
    text +=
        "The verdict above is about something that was not seen: the power curve says how large it would have had to "
        "be.";
  else
    text +=
        "The verdict above is about something that was seen: the first row of the marks says how often the same would "
        "be seen by "
        "accident.";
  return text + "</p>\n";
}

}  // namespace

std::string calibration_section(const Node& report) {
  const Node part = report.at("calibration");
  const std::string title = "Error rates on control models";
  if (part.is_null())
    return section("calibration", title, "<p>" + undefined_html(report.reason("calibration")) + "</p>\n");
  const std::vector<Node> fixed = part.rows("fixed"), confusion = part.rows("confusion");
  std::string body = meaning(report, part);
  body += html_table("Pass marks",
                     {text_column("Mark", "mark"), flag_column("Holds", "passed"),
                      number_column("Worst value", "value"), number_column("From", "low"), number_column("To", "high"),
                      number_column("Cells", "cells", 0), text_column("Worst cell", "where")},
                     part.rows("marks"));
  if (const auto failed = part.rows("failed"); !failed.empty()) body += html_plain_table("Cells that failed", failed);
  if (!fixed.empty()) body += power_curve(fixed) + coverage_forest(fixed);
  if (!confusion.empty()) body += confusion_table(confusion);
  body += "<details><summary>Every cell</summary>\n" + html_plain_table("Fixed candidate", fixed) +
          html_plain_table("Whole pipeline", part.rows("pipeline")) + "</details>\n";
  return section("calibration", title, body);
}

}  // namespace fare
