// Some pairs token by token: which experts are used without and with the edits.
#include <map>
#include <tuple>

#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {
namespace {

constexpr size_t kShownExperts = 3;
constexpr double kVisible = 0.005;  // less moved weight would round away

// "14 0.52, 15 0.48, +6": by falling weight.
std::string experts_html(const Node& step, const std::string& which) {
  const auto experts = step.rows(which + "_experts"), weights = step.rows(which + "_weights");
  if (experts.empty()) return "none";
  std::string text;
  for (size_t i = 0; i < std::min(kShownExperts, experts.size()); ++i)
    text += (i ? ", " : "") + fixed_text(experts[i].number(), 0) + "&#160;<small>" +
            fixed_text(weights[i].number(), 2) + "</small>";
  if (experts.size() > kShownExperts) text += ", +" + std::to_string(experts.size() - kShownExperts);
  return text;
}

std::string route_html(const Node& step) {
  std::string html = experts_html(step, "base");
  if (step.number("moved") >= kVisible) html += "<br/><strong>→&#160;" + experts_html(step, "edited") + "</strong>";
  return html;
}

}  // namespace

std::string route_examples_section(const Node& report) {
  if (!report.has("route_examples")) return "";  // a report of an earlier version
  const Node part = report.at("route_examples");
  if (part.is_null())
    return section("routes", "Routes of single pairs",
                   "<p>" + undefined_html(report.reason("route_examples")) + "</p>\n");
  using Place = std::tuple<std::string, std::string, double, double>;  // pair, side, position, layer
  std::map<Place, Node> steps;
  const auto place_of = [](const Node& step, double layer) {
    return Place{step.text("pair"), step.text("side"), step.number("position"), layer};
  };
  for (const Node& step : part.rows("steps")) steps.emplace(place_of(step, step.number("layer")), step);
  const auto layers = part.rows("layers");
  std::vector<TableColumn> columns = {
      {"Token",
       [](const Node& step) -> TableCell {
         const std::string token = "<code>" + escape_html(step.text("token")) + "</code>";
         return {step.at("differs").flag() ? "<strong>" + token + "</strong> (differs)" : token, false};
       },
       false}};
  for (const Node& layer : layers)
    columns.push_back({"Layer " + fixed_text(layer.number(), 0),
                       [&steps, place_of, number = layer.number()](const Node& step) -> TableCell {
                         const auto found = steps.find(place_of(step, number));
                         return {found == steps.end() ? "" : route_html(found->second), false};
                       },
                       false});

  std::string body =
      "<p>What the edits of <code>" + escape_html(part.text("candidate")) +
      "</code> do to single texts: for each token that the model reads, the experts chosen for it with their "
      "weights, and after the arrow those under the edits, where at least " +
      fixed_text(kVisible, 3) +
      " of the weight moves. Up to four layers are shown, those with the most change, and of long texts the part "
      "around the word that differs. The pairs are the extremes of the test split, not typical ones: they "
      "illustrate what happens and prove nothing.</p>\n";
  for (const Node& pair : part.rows("pairs")) {
    body += "<h3>" + escape_html(pair.text("axis")) + ", pair " + escape_html(pair.text("pair")) + ": " +
            escape_html(pair.text("choice")) + "</h3>\n<p>The stereotypical text is more probable than the other by " +
            number_html(pair, "base_nats", 2) + " nats without edits and by " + number_html(pair, "edited_nats", 2) +
            " with them" +
            (pair.text("context").empty() ? "" : ", both after “" + escape_html(pair.text("context")) + "”") +
            ".</p>\n<div class=\"pair\">";
    for (const auto& [side, what] : {std::pair{"stereo", "Stereotypical"}, std::pair{"anti", "Other"}}) {
      std::vector<Node> rows;
      for (const Node& step : part.rows("steps"))
        if (!layers.empty() && step.text("pair") == pair.text("pair") && step.text("side") == side &&
            step.number("layer") == layers.front().number())
          rows.push_back(step);
      body += html_table(std::string(what) + ": " + pair.text(side), columns, rows);
    }
    body += "</div>\n";
  }
  return section("routes", "Routes of single pairs", body);
}

}  // namespace fare
