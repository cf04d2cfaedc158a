#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string buffering_part(const Node& part) {
  std::string body =
      "<h3>Do shared experts buffer?</h3>\n<p>Under the mask of the top group, on neutral text: how much of the "
      "relative change of the routed output reaches the block's whole output (1: all of it; 0: none).</p>\n";
  if (part.at("buffering").is_null()) return body + "<p>" + undefined_html(part.reason("buffering")) + "</p>\n";
  body += html_table("",
                     {number_column("Layer", "layer", 0), number_column("Shared share", "shared_share", 3),
                      number_column("Reaches the output", "buffering", 3)},
                     part.rows("buffering"));
  if (part.at("shared_scale").is_null())
    return body + "<p>With the shared experts halved, at equal dose: " + undefined_html(part.reason("shared_scale")) +
           "</p>\n";
  return body +
         html_table(
             "The same control with the shared experts' output as it is and halved, at equal dose (test split)",
             {number_column("Shared output times", "shared_factor", 1), number_column("Strength", "lambda"),
              number_column("Dose, nats", "dose_nats"), estimate_column("Shift, pp", "shift_pp", "shift_interval", 1)},
             part.at("shared_scale").rows("rows"));
}

std::string breadth_part(const Node& part) {
  const std::string heading = "<h3>How many experts does it take?</h3>\n";
  if (part.at("breadth").is_null()) return heading + "<p>" + undefined_html(part.reason("breadth")) + "</p>\n";
  const Node breadth = part.at("breadth");
  Forest curve{"Shift by breadth, on validation", "shift, pp (positive = less bias)", {}, {}};
  for (const Node& row : breadth.rows("rows"))
    curve.rows.push_back({"k = " + compact_text(row.number("k")),
                          row.number_or_null("shift_pp"),
                          range_or_null(row, "shift_interval"),
                          "",
                          breadth.number_or_null("k_star") && row.number("k") >= breadth.number("k_star"),
                          {}});
  return heading + "<p>Configuration of the largest shift found (" + escape_html(breadth.text("family")) + " by " +
         escape_html(breadth.text("score")) + ", strength " + number_html(breadth, "lambda", -1) + ", layers " +
         escape_html(breadth.text("layers")) + ") with the number k of experts varied. Threshold k*: <strong>" +
         number_html(breadth, "k_star", 0) + "</strong>.</p>\n<div class=\"figures\">" +
         figure(draw_forest(curve),
                "Coloured: from k* on every lower 95% bound exceeds the smallest shift that counts.") +
         "<div>" +
         html_table("",
                    {number_column("k", "k", 0), number_column("With a score", "experts", 0),
                     estimate_column("Shift, pp", "shift_pp", "shift_interval", 1),
                     estimate_column("Drop, pp", "drop_pp", "drop_interval", 1)},
                    breadth.rows("rows")) +
         "</div></div>\n";
}

}  // namespace

std::string conditions_section(const Node& report) {
  const Node part = report.at("conditions");
  if (part.is_null())
    return section("conditions", "Architectural conditions",
                   "<p>" + undefined_html(report.reason("conditions")) + "</p>\n");
  return section("conditions", "Architectural conditions",
                 buffering_part(part) + breadth_part(part) +
                     "<p class=\"small\">Slope of shift on shared share over models: " +
                     undefined_html(part.reason("slope_over_models")) + "</p>\n");
}

}  // namespace fare
