#include <map>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

const std::map<std::string, std::string> kGroupNames = {
    {"T", "T top"},           {"L", "L bottom"},           {"R", "R random"},
    {"U", "U usage-matched"}, {"C", "C capacity-matched"}, {"N", "N knowledge"}};

std::string group_name(const std::string& group) {
  const auto known = kGroupNames.find(group);
  return known == kGroupNames.end() ? group : known->second;
}

std::string forest_of(const Node& masking, const std::string& quantity, const std::string& title,
                      const std::string& axis) {
  Forest forest{title, axis, {}, {}};
  for (const Node& row : masking.rows("groups")) {
    ForestRow entry{group_name(row.text("group")) + " " + compact_text(row.number("m")) + ", " + row.text("mode"),
                    row.number_or_null(quantity + "_pp"),
                    range_or_null(row, quantity + "_interval"),
                    "",
                    row.text("group") == "T",
                    {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason(quantity + "_pp");
    for (const Node& draw : masking.rows("draw_values"))
      if (draw.text("group") == row.text("group") && draw.text("mode") == row.text("mode"))
        if (const auto value = draw.number_or_null(quantity + "_pp")) entry.cloud.push_back(*value);
    forest.rows.push_back(entry);
  }
  return draw_forest(forest);
}

}  // namespace

std::string masking_section(const Node& report) {
  const Node masking = report.at("masking");
  if (masking.is_null())
    return section("masking", "Masking groups of experts", "<p>" + undefined_html(report.reason("masking")) + "</p>\n");
  std::string modes;
  for (const Node& mode : masking.rows("modes_run")) modes += (modes.empty() ? "" : ", ") + escape_html(mode.text());
  std::string body = "<p><strong>" + escape_html(masking.text("sentence")) + "</strong> Conclusion: <code>" +
                     escape_html(masking.text("conclusion")) + "</code>. Ablation: " + modes +
                     ". The contrast that counts is T against matched groups: top against bottom experts "
                     "differs in usage by construction.</p>\n";
  body +=
      "<div class=\"figures\">" +
      figure(
          forest_of(masking, "shift", "Shift when the group is masked", "shift, pp (positive = less bias)"),
          "Bars: 95% interval over clusters for a fixed group, central 95% of the draws (small dots) for drawn ones.") +
      figure(forest_of(masking, "drop", "Loss of utility when the group is masked", "drop, pp (positive = worse)"),
             "The same groups, on utility.") +
      "</div>\n";
  body += html_table("Groups",
                     {text_column("Group", "group"),
                      text_column("Mode", "mode"),
                      number_column("m", "m", 0),
                      number_column("Draws", "draws", 0),
                      {"Experts",
                       [](const Node& row) -> TableCell {
                         std::string text;
                         for (const Node& expert : row.rows("experts"))
                           text += (text.empty() ? "" : ", ") + compact_text(expert.number("layer")) + "/" +
                                   compact_text(expert.number("expert"));
                         return {text.empty() ? "drawn" : text, false};
                       },
                       false},
                      number_column("Matched", "matched_share", 2),
                      estimate_column("Shift, pp", "shift_pp", "shift_interval", 1),
                      estimate_column("Drop, pp", "drop_pp", "drop_interval", 1),
                      number_column("Dose, nats", "dose_nats"),
                      number_column("Routing change", "routing_change"),
                      number_column("Direct, pp", "direct_pp", 1),
                      number_column("Mediated, pp", "mediated_pp", 1),
                      number_column("Routing only, pp", "routing_only_pp", 1)},
                     masking.rows("groups"));
  body += "<div class=\"pair\">" +
          html_table("T among the matched draws",
                     {text_column("Test", "name"), number_column("z", "z", 1), number_column("p", "p"),
                      number_column("Distinct sets", "distinct_sets", 0)},
                     masking.rows("tests")) +
          html_table("Experts of T alone",
                     {number_column("Layer", "layer", 0), number_column("Expert", "expert", 0),
                      number_column("Shift, pp", "shift_pp", 1), number_column("Drop, pp", "drop_pp", 1)},
                     masking.rows("singles")) +
          "</div>\n<p class=\"small\">Additivity gap (group minus sum of singles), pp: " +
          number_html(masking, "additivity_gap_pp", 2) +
          ". Partial rank correlation of shift and drop given routed mass and dose: " +
          number_html(masking, "partial_correlation", 2) + ".</p>\n";
  return section("masking", "Masking groups of experts", body);
}

}  // namespace fare
