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
    {"U", "U usage-matched"}, {"C", "C capacity-matched"}, {"N", "N knowledge"},
    {"S", "S super expert"}};

std::string group_name(const std::string& group) {
  const auto known = kGroupNames.find(group);
  return known == kGroupNames.end() ? group : known->second;
}

std::string forest_of(const Node& masking, const std::string& quantity, const std::string& title,
                      const std::string& axis) {
  Forest forest{title, axis, {}, {}};
  for (const Node& row : masking.rows("groups")) {
    if (row.text("mode") != "refill") continue;
    ForestRow entry{group_name(row.text("group")) + " " + compact_text(row.number("m")),
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
          forest_of(masking, "shift", "Shift when the group is masked with refill", "shift, pp (positive = less bias)"),
          "Bars: 95% interval over clusters for a fixed group, central 95% of the draws (small dots) for drawn ones.") +
      figure(forest_of(masking, "drop", "Loss of utility when the group is masked with refill",
                       "drop, pp (positive = worse)"),
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
                      number_column("Routing change, bit", "routing_change")},
                     masking.rows("groups"));
  std::vector<Node> parts;
  for (const Node& row : masking.rows("groups"))
    if (row.number_or_null("direct_shift_pp")) parts.push_back(row);
  if (!parts.empty())
    body += html_table(
        "The effect taken apart (refill). Direct: later layers keep their routes. Mediated: the rest. Routing only: "
        "the "
        "experts are back, the later routes stay disturbed",
        {text_column("Group", "group"), number_column("m", "m", 0), number_column("Direct drop, pp", "direct_pp", 1),
         number_column("Mediated drop, pp", "mediated_pp", 1),
         number_column("Routing-only drop, pp", "routing_only_pp", 1),
         number_column("Direct shift, pp", "direct_shift_pp", 1),
         number_column("Mediated shift, pp", "mediated_shift_pp", 1),
         number_column("Routing-only shift, pp", "routing_only_shift_pp", 1)},
        parts);
  if (const auto changes = masking.rows("routing_changes"); !changes.empty())
    body += html_table(
        "Routing of the layers above a mask",
        {text_column("Group", "group"), number_column("Layer", "layer", 0), number_column("JS, bit", "js"),
         number_column("Set distance", "set_distance", 3), number_column("Rows with another top k", "changed_share", 3),
         number_column("Load entropy before", "load_entropy_base", 3),
         number_column("Load entropy after", "load_entropy_masked", 3)},
        changes);
  body +=
      "<div class=\"pair\">" +
      html_table("T among the matched draws",
                 {text_column("Test", "name"), number_column("z", "z", 1), number_column("p", "p"),
                  number_column("Distinct sets", "distinct_sets", 0)},
                 masking.rows("tests")) +
      html_table("Experts of T alone",
                 {number_column("Layer", "layer", 0), number_column("Expert", "expert", 0),
                  estimate_column("Shift, pp", "shift_pp", "shift_interval", 1),
                  estimate_column("Drop, pp", "drop_pp", "drop_interval", 1), flag_column("Separable", "separable")},
                 masking.rows("singles")) +
      "</div>\n" +
      html_table("Smaller than T, or T only at some words: does any lower bias within the margin of cost?",
                 {text_column("What is masked", "what"), estimate_column("Shift, pp", "shift_pp", "shift_interval", 1),
                  estimate_column("Drop, pp", "drop_pp", "drop_interval", 1), flag_column("Separable", "separable")},
                 masking.rows("subsets")) +
      "<p class=\"small\">Additivity gap (group minus sum of singles), pp: " +
      number_html(masking, "additivity_gap_pp", 2) +
      ". Partial rank correlation of shift and drop given routed mass and dose: " +
      number_html(masking, "partial_correlation", 2) + ".</p>\n";
  return section("masking", "Masking groups of experts", body);
}

}  // namespace fare
