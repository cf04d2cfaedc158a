#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {

namespace {

// Sizes of margins beside those of nulls: what words do that have nothing to do with groups.
std::string margins_table(const Node& bias) {
  const auto quantile = [](const char* title, size_t which) {
    return TableColumn{title,
                       [which](const Node& row) -> TableCell {
                         const std::vector<Node> all = row.rows("size_quantiles_nats");
                         if (all.empty()) return {undefined_html(row.reason("size_quantiles_nats")), true};
                         return {fixed_text(all[which].number(), 2), false};
                       },
                       true};
  };
  return html_table("Size of the margin, nats: pairs of the train split and their nulls",
                    {text_column("Pairs", "pairs"), number_column("n", "n"), quantile("25%", 0), quantile("median", 1),
                     quantile("75%", 2), quantile("95%", 3), number_column("Mean, signed", "mean_nats", 2),
                     number_column("SD", "sd_nats", 2)},
                    bias.rows("margins"));
}

}  // namespace

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
          margins_table(bias) +
          "<p class=\"small\">N1 exchanges equally unmarked words, N2 words of one group, N3 phrases of one meaning. "
          "Where nulls are as large, "
          "margins speak of words, not of groups.</p><p class=\"small\">median |margin| " +
          number_html(bias, "margin_median_nats", -1) +
          " nats; share of pairs whose preference the winning candidate changes: " +
          number_html(bias, "discordant_share", -1) + "</p></div></div>\n";
  return section("bias", "Preference of the base model", body);
}

}  // namespace fare
