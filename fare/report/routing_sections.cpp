#include <algorithm>
#include <functional>
#include <map>

#include "fare/core/error.h"
#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::vector<Node> rows_where(const std::vector<Node>& rows, const std::function<bool(const Node&)>& keep) {
  std::vector<Node> kept;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(kept), keep);
  return kept;
}

HeatMap expert_map(const std::vector<Node>& experts, const std::string& key, const std::string& title, bool is_signed) {
  HeatMap map{title, {}, {}, is_signed, 2};
  std::map<int, size_t> row_of_layer;
  for (const Node& row : experts) row_of_layer.emplace(static_cast<int>(row.number("layer")), 0);
  for (auto& [layer, index] : row_of_layer) {
    index = map.row_labels_L.size();
    map.row_labels_L.push_back(std::to_string(layer));
  }
  map.value_LE.resize(row_of_layer.size());
  for (const Node& row : experts) {
    auto& values = map.value_LE[row_of_layer.at(static_cast<int>(row.number("layer")))];
    const double expert = row.number("expert");
    if (expert < 0 || expert > 65535) throw FormatError("report.json", row.place(), "expert index out of range");
    if (values.size() <= static_cast<size_t>(expert)) values.resize(static_cast<size_t>(expert) + 1);
    values[static_cast<size_t>(expert)] = row.number_or_null(key);
  }
  return map;
}

}  // namespace

std::string sensitivity_section(const Node& report) {
  const Node part = report.at("sensitivity");
  if (part.is_null())
    return section("sensitivity", "Does the router react?",
                   "<p>" + undefined_html(report.reason("sensitivity")) + "</p>\n");
  const std::string span = part.text("primary_span"), null = part.text("primary_null");
  const auto all = part.rows("rows");
  const auto primary = rows_where(all, [&](const Node& row) {
    return row.text("axis") == "all" && row.text("span") == span && row.text("null") == null;
  });
  std::string layers;
  for (const Node& layer : part.rows("sensitive_layers"))
    layers += (layers.empty() ? "" : ", ") + compact_text(layer.number());
  std::string body =
      "<p>Routing of the two sentences of a pair, compared with pairs that differ in a word of no demographic content. "
      "Sensitive layers (all conditions of stage 1 met): <strong>" +
      (layers.empty() ? "none" : layers) +
      "</strong>. Largest divergence before the first differing token: " + number_html(part, "causal_zero_max", -1) +
      " bit.</p>\n";
  Forest forest{"Effect size by layer, span " + span + " against " + null,
                "paired d_z (positive: demographic changes move routing more)",
                {},
                {}};
  for (const Node& row : primary) {
    ForestRow entry{"layer " + compact_text(row.number("layer")),
                    row.number_or_null("d_z"),
                    range_or_null(row, "d_z_interval"),
                    "",
                    !row.at("sensitive").is_null() && row.at("sensitive").flag(),
                    {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason("d_z");
    forest.rows.push_back(entry);
  }
  if (report.has("thresholds"))
    for (const Node& row : report.at("thresholds").rows("values"))
      if (row.text("name") == "delta_S") forest.lines.push_back({row.number("value"), "delta_S"});
  const std::vector<TableColumn> columns = {number_column("Layer", "layer", 0),
                                            text_column("Axis", "axis"),
                                            text_column("Span", "span"),
                                            text_column("Null", "null"),
                                            number_column("JS pairs, bit", "js_demo"),
                                            number_column("JS nulls, bit", "js_null"),
                                            estimate_column("Difference", "difference", "difference_interval", 4),
                                            estimate_column("d_z", "d_z", "d_z_interval", 2),
                                            estimate_column("Ratio", "ratio", "ratio_interval", 2),
                                            number_column("Cliff's delta", "cliffs_delta"),
                                            test_column(),
                                            sample_column(),
                                            number_column("MDE, d_z", "mde"),
                                            flag_column("Sensitive", "sensitive")};
  body += "<div class=\"figures\">" +
          figure(draw_forest(forest), "Coloured: counts as sensitive. Bars are 95% intervals over clusters.") +
          "<div>" +
          html_table("Primary comparison, axes pooled",
                     {number_column("Layer", "layer", 0), estimate_column("d_z", "d_z", "d_z_interval", 2),
                      estimate_column("Ratio", "ratio", "ratio_interval", 2), number_column("p BH", "p_bh"),
                      flag_column("Sensitive", "sensitive")},
                     primary) +
          "</div></div>\n<details><summary>All " + std::to_string(all.size()) +
          " rows: layer, axis, span, null</summary>\n" + html_table("", columns, all) + "</details>\n";
  const auto statistics =
      rows_where(part.rows("statistics"), [](const Node& row) { return row.text("axis") == "all"; });
  body +=
      "<details><summary>Every statistic on every span, axes pooled: before the change (Q), the change (D), after it "
      "(P)</summary>\n" +
      html_table(
          "",
          {number_column("Layer", "layer", 0), text_column("Span", "span"), text_column("Pairs", "kind"),
           number_column("n", "n", 0), number_column("JS, bit", "js"),
           number_column("Total variation", "total_variation"), number_column("Symmetric KL, bit", "symmetric_kl"),
           number_column("Set distance", "set_distance"), number_column("Weighted distance", "weighted_distance"),
           number_column("Logit shift, SD", "logit_shift")},
          statistics) +
      "</details>\n";
  if (part.at("adjusted").is_null())
    body += "<p class=\"small\">Adjusted for word distance, frequency and span length: " +
            undefined_html(part.reason("adjusted")) + "</p>\n";
  else
    body += html_table(
        "Divergence after the change, bit, regressed on the changed words' distance, log frequency and length (per SD) "
        "and on "
        "being demographic: is it more than such words explain?",
        {number_column("Layer", "layer", 0), number_column("Distance", "distance"),
         number_column("Log frequency", "log_frequency"), number_column("Length", "length"),
         estimate_column("Demographic", "demographic", "demographic_interval", 4), number_column("n", "n", 0),
         number_column("Clusters", "clusters", 0)},
        part.at("adjusted").rows("rows"));
  return section("sensitivity", "Does the router react?", body);
}

std::string router_section(const Node& report) {
  const Node part = report.at("router_profile");
  if (part.is_null())
    return section("router", "Router profile", "<p>" + undefined_html(report.reason("router_profile")) + "</p>\n");
  const std::string body =
      "<p>How the unedited router spreads " + number_html(part, "tokens", -1) +
      " neutral tokens over its experts. Entropies are shares of their maximum; the boundary margin is the gap between "
      "the last "
      "expert chosen and the first one left out.</p>\n" +
      html_table("",
                 {number_column("Layer", "layer", 0), number_column("Load entropy", "load_entropy", 3),
                  number_column("Load Gini", "load_gini", 3), number_column("Top-k mass", "topk_mass", 3),
                  number_column("Router entropy", "router_entropy", 3),
                  number_column("Uncertain tokens", "uncertain_share", 3),
                  number_column("Boundary margin", "boundary_margin", 3), number_column("SD of logits", "logit_sd", 3),
                  number_column("Shared share", "shared_share", 3)},
                 part.rows("layers"));
  return section("router", "Router profile", body);
}

std::string experts_section(const Node& report) {
  if (report.at("experts").is_null())
    return section("experts", "Expert by expert", "<p>" + undefined_html(report.reason("experts")) + "</p>\n");
  auto experts = report.rows("experts");
  std::string body =
      "<p>Scores nominate experts; only the ablation s5 is causal. Positive: the expert serves the stereotype side. "
      "Each score is scaled to ±1 inside its layer, except s5 (nats).</p>\n<div class=\"figures\">";
  const struct {
    const char *key, *title, *caption;
    bool is_signed;
  } maps[] = {
      {"s1", "s1 selection gap", "chosen more often in stereotype sentences", true},
      {"s2", "s2 gate gap", "weighted more in stereotype sentences", true},
      {"s3", "s3 attribution", "gradient of the preference margin at the router logits", true},
      {"s4", "s4 difference-weighted attribution", "gradient times the difference between the two sentences", true},
      {"s5", "s5 ablation, nats", "change of the preference margin when the expert is taken out; empty: not ablated",
       true},
      {"usage", "Usage", "share of neutral tokens that choose the expert", false}};
  for (const auto& map : maps)
    body += figure(draw_heat_map(expert_map(experts, map.key, map.title, map.is_signed)), map.caption);
  body += "</div>\n";
  std::stable_sort(experts.begin(), experts.end(),
                   [](const Node& a, const Node& b) { return a.number("combined_rank") < b.number("combined_rank"); });
  const size_t shown = std::min<size_t>(experts.size(), 12);
  body += html_table("The " + std::to_string(shown) + " top experts of " + std::to_string(experts.size()) +
                         " (all of them in tables/experts.csv)",
                     {number_column("Rank", "combined_rank", 0), number_column("Layer", "layer", 0),
                      number_column("Expert", "expert", 0), number_column("s1", "s1", 2), number_column("s2", "s2", 2),
                      number_column("s3", "s3", 2), number_column("s4", "s4", 2), number_column("s5, nats", "s5", 3),
                      number_column("Stability", "stability", 2), number_column("Usage", "usage", 3),
                      number_column("Mean gate", "mean_gate", 3), number_column("Mean norm", "mean_norm", 2)},
                     std::vector<Node>(experts.begin(), experts.begin() + static_cast<std::ptrdiff_t>(shown)));
  if (const Node scores = report.at("expert_scores"); scores.is_null()) {
    body += "<p>" + undefined_html(report.reason("expert_scores")) + "</p>\n";
  } else {
    body +=
        html_table("Honesty check: rank correlation of each score with s5 on " +
                       (scores.at("s5_random_experts").is_null() ? std::string("the")
                                                                 : compact_text(scores.number("s5_random_experts"))) +
                       " random experts",
                   {text_column("Score", "score"), estimate_column("Spearman", "spearman", "interval", 2),
                    number_column("n", "n", 0)},
                   scores.rows("honesty"));
    std::string stable;
    for (const Node& row : scores.rows("stable_experts"))
      stable +=
          (stable.empty() ? "" : ", ") + compact_text(row.number("layer")) + "/" + compact_text(row.number("expert"));
    body += "<p>In the top " + number_html(scores, "top_m", 0) +
            " in at least 80% of half-samples (layer/expert): " + (stable.empty() ? std::string("none") : stable) +
            ".</p>\n";
    const auto gaps = scores.rows("group_gaps");
    if (!gaps.empty())
      body += "<details><summary>Selection by group, for the top experts</summary>\n" +
              html_table("",
                         {number_column("Layer", "layer", 0), number_column("Expert", "expert", 0),
                          text_column("Axis", "axis"), text_column("Side", "side"),
                          number_column("Share of tokens", "share", 3), number_column("Gap to the mean", "gap", 3)},
                         gaps) +
              "</details>\n";
  }
  return section("experts", "Expert by expert", body);
}

}  // namespace fare
