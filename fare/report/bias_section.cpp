#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {

std::string bias_section(const Node& report) {
  const Node bias = report.at("bias");
  Forest forest{"Stereotyped preferences above 50%", "bias level, percentage points", {}, {}};
  for (const Node& row : bias.rows("scorings")) {
    ForestRow entry{"all pairs, " + row.text("scoring"),
                    row.number_or_null("bias_pp"),
                    range_or_null(row, "bias_interval"),
                    "",
                    row.at("primary").flag(),
                    {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason("bias_pp");
    forest.rows.push_back(entry);
  }
  for (const Node& row : bias.rows("axes")) {
    ForestRow entry{
        row.text("axis"), row.number_or_null("bias_pp"), range_or_null(row, "bias_interval"), "", false, {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason("bias_pp");
    forest.rows.push_back(entry);
  }
  for (const Node& row : report.at("thresholds").rows("values"))
    if (row.text("name") == "delta_B") forest.lines.push_back({row.number("value"), "delta_B"});
  std::string body =
      "<p>The unedited model. A pair counts as stereotyped when its stereotype sentence is the likelier one under the "
      "scoring named.</p>\n";
  body += "<div class=\"figures\">" +
          figure(draw_forest(forest),
                 "Bias level with 95% intervals; the primary scoring in colour, then each axis under it.") +
          "<div>" +
          html_table("",
                     {text_column("Scoring", "scoring"), estimate_column("% stereotype", "pct_stereo", "interval", 1),
                      estimate_column("Bias level, pp", "bias_pp", "bias_interval", 1), sample_column()},
                     bias.rows("scorings")) +
          html_table("",
                     {text_column("Axis", "axis"), estimate_column("% stereotype", "pct_stereo", "interval", 1),
                      number_column("n", "n"), number_column("Clusters", "clusters")},
                     bias.rows("axes")) +
          "<p class=\"small\">median |margin| " + number_html(bias, "margin_median_nats", -1) +
          " nats; share of pairs whose preference the winning candidate changes: " +
          number_html(bias, "discordant_share", -1) + "</p></div></div>\n";
  return section("bias", "Preference of the base model", body);
}

}  // namespace fare
