#include <cmath>

#include "fare/report/html.h"
#include "fare/report/page.h"
#include "fare/report/report.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string number_cell(const Node& numbers, const std::string& key) {
  if (numbers.at(key).is_null()) return "<td class=\"gap\">" + undefined_html(numbers.reason(key)) + "</td>";
  const Node estimate = numbers.at(key);
  return "<td class=\"num\">" + value_with_range_html(estimate, "value", "interval", 1) + "</td>";
}

// The six answers of the winning candidate as short marks: "✓ ✓ ✓ ✓ ✓ –".
std::string answers(const Node& report) {
  const auto& winner = report.at("headline").at("candidate").json();
  std::string out;
  for (const Node& stage : report.rows("stages")) {
    if (stage.text("control_class") != "static" || (!winner.is_null() && stage.at("candidate").json() != winner))
      continue;
    const std::string answer = stage.text("answer");
    const std::string css = answer == "yes" || answer == "no" || answer == "not_run" ? answer : "unresolved";
    out += "<span class=\"chip " + css + "\" title=\"stage " + number_html(stage, "stage", 0) + " " +
           escape_html(stage.text("name")) + ": " + escape_html(answer) + "\">" + number_html(stage, "stage", 0) +
           (answer == "yes"       ? "✓"
            : answer == "no"      ? "✗"
            : answer == "not_run" ? "–"
                                  : "?") +
           "</span> ";
    if (stage.number("stage") == 5) break;
  }
  return out;
}

std::string reports_table(const std::vector<IndexEntry>& entries) {
  std::string out =
      "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">Model</th><th "
      "scope=\"col\">Verdict</th>"
      "<th scope=\"col\">Stages 0 to 5</th><th scope=\"col\" class=\"num\">Shift, pp</th><th scope=\"col\" "
      "class=\"num\">Cost, pp</th>"
      "<th scope=\"col\">In words</th></tr></thead>\n<tbody>\n";
  for (const IndexEntry& entry : entries) {
    const Node report(entry.report, "");
    const Node headline = report.at("headline"), numbers = headline.at("numbers");
    out += "<tr><td><a href=\"" + escape_html(entry.href) + "\"><strong>" +
           escape_html(report.at("model").text("name")) + "</strong></a></td><td><code>" +
           escape_html(headline.text("code")) + "</code></td><td class=\"num\">" + answers(report) + "</td>" +
           number_cell(numbers, "shift") + number_cell(numbers, "cost") + "</tr>\n";
  }
  out += "</tbody></table></div>\n<dl>\n";
  for (const IndexEntry& entry : entries) {
    const Node report(entry.report, "");
    out += "<dt><a href=\"" + escape_html(entry.href) + "\">" + escape_html(report.at("model").text("name")) +
           "</a></dt><dd>" + escape_html(report.at("headline").text("sentence")) +
           (entry.note.empty() ? "" : "<br/><small>" + escape_html(entry.note) + "</small>") + "</dd>\n";
  }
  return out + "</dl>\n";
}

// A results file of the harness may hold NaN and infinities.
bool is_finite(const OrderedJson& value) { return value.is_number() && std::isfinite(value.get<double>()); }

// The harness names a metric "acc,none" and its error "acc_stderr,none".
std::string scores_table(const OrderedJson& results) {
  std::string out =
      "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">Task</th><th "
      "scope=\"col\" class=\"num\">Items</th><th scope=\"col\">Metric</th>"
      "<th scope=\"col\" class=\"num\">Value</th><th scope=\"col\" class=\"num\">Standard "
      "error</th></tr></thead>\n<tbody>\n";
  for (const auto& [task, metrics] : results.items()) {
    if (!metrics.is_object()) continue;
    for (const auto& [name, value] : metrics.items()) {
      const size_t comma = name.find(',');
      if (comma == std::string::npos || name.substr(0, comma).ends_with("_stderr")) continue;
      const std::string error_name = name.substr(0, comma) + "_stderr" + name.substr(comma);
      std::string error = "not given";
      if (metrics.contains(error_name))
        error = is_finite(metrics[error_name]) ? fixed_text(metrics[error_name].get<double>(), 4) : "undefined";
      std::string reason = value.is_number() ? "not a finite number in the results file" : "no reason was given";
      if (metrics.contains(name + "_reason") && metrics[name + "_reason"].is_string())
        reason = metrics[name + "_reason"].get<std::string>();
      const std::string items = metrics.contains("sample_len") && metrics["sample_len"].is_number_integer()
                                    ? std::to_string(metrics["sample_len"].get<int64_t>())
                                    : "not given";
      out += "<tr><td>" + escape_html(task) + "</td><td class=\"num\">" + items + "</td><td><code>" +
             escape_html(name) + "</code></td><td class=\"num\">" +
             (is_finite(value) ? fixed_text(value.get<double>(), 4) : undefined_html(reason)) +
             "</td><td class=\"num\">" + error + "</td></tr>\n";
    }
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::string render_index(const IndexPage& page) {
  std::string body = "<header><h1>" + escape_html(page.title) + "</h1></header>\n<main>\n" +
                     (page.introduction.empty() ? "" : "<p>" + escape_html(page.introduction) + "</p>\n");
  if (!page.reports.empty()) body += section("reports", "Diagnoses", reports_table(page.reports));
  std::string scores;
  for (const IndexScores& entry : page.scores)
    scores += "<h3>" + escape_html(entry.title) + "</h3>\n" + scores_table(entry.results);
  if (!scores.empty()) body += section("scores", "Benchmark scores", scores);
  if (!page.reports.empty()) body += limits_section(Node(page.reports.front().report, ""));
  return html_page(page.title, body + "</main>\n");
}

}  // namespace fare
