// How far routing can be pushed at all (methods A6): what each search reached, with and without the limit on utility.
#include <algorithm>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string name_of(const std::string& bound) {
  const std::pair<const char*, const char*> names[] = {{"a5_reach", "grid of configurations"},
                                                       {"a5_within_tau", "grid of configurations"},
                                                       {"a6_gradient", "static bias, gradients"},
                                                       {"a6_second_optimiser", "static bias, perturbations"},
                                                       {"conditional_tokens", "demographic tokens only"},
                                                       {"conditional_detector", "behind a detector"},
                                                       {"conditional_low_rank", "low-rank router change"},
                                                       {"router_only", "trained router, last layer"},
                                                       {"oracle", "oracle: best sampled route"}};
  for (const auto& [key, text] : names)
    if (bound == key) return text;
  return bound;
}

std::string searched_text(const Node& row) {
  return name_of(row.text("bound")) + (row.text("constraint") == "within_tau" ? ", within tau" : ", whatever the cost");
}

}  // namespace

std::string reach_section(const Node& report) {
  const Node reach = report.at("reach");
  if (reach.is_null())
    return section("reach", "Upper bounds on control", "<p>" + undefined_html(report.reason("reach")) + "</p>\n");
  std::string body =
      "<p>How far can routing be pushed if one tries harder than a grid? Static control sets one bias for all tokens; "
      "conditional "
      "control acts on some tokens; a trained router changes the last layer's matrix; the oracle sees the answer and "
      "is no method. "
      "Fitted on train, chosen on validation, measured on test. Each value is the best that these searches found, not "
      "a proof.</p>\n";
  if (const std::vector<Node> reading = reach.rows("reading"); !reading.empty()) {
    body += "<ul>\n";
    for (const Node& sentence : reading) body += "<li>" + escape_html(sentence.text()) + "</li>\n";
    body += "</ul>\n";
  }
  Forest forest{"Shift on the test split", "shift, percentage points (positive = less bias)", {}, {}, true};
  for (const Node& row : reach.rows("rows")) {
    ForestRow line;
    line.label = searched_text(row);
    line.value = row.number_or_null("test_pp");
    line.range = range_or_null(row, "test_interval");
    if (!line.value) line.absent = "not run";
    line.is_strong = row.text("control_class") == "static";
    forest.rows.push_back(std::move(line));
  }
  const Node thresholds = report.at("thresholds");
  body += figure(draw_forest(forest), "95% intervals. Strong: static control, which the headline is about.", true);
  body += html_table(
      "What each search reached: shift on train, validation (with the drop there) and test, in percentage points; at "
      "most: "
      "one-sided 95% bound",
      {{"Search",
        [](const Node& row) {
          return TableCell{escape_html(searched_text(row)), false};
        }},
       code_column("Class", "control_class"),
       code_column("Candidate", "candidate"),
       number_column("Experts", "breadth", 0),
       number_column("Train", "train_pp", 1),
       number_column("Validation", "validation_pp", 1),
       number_column("Drop", "validation_drop_pp", 1),
       estimate_column("Test", "test_pp", "test_interval", 1),
       number_column("At most", "upper_bound_pp", 1),
       number_column("Dose, nats", "dose_nats")},
      reach.rows("rows"));
  if (const auto rows = reach.rows("oracle"); !rows.empty())
    body += html_table("Oracle: best of R sampled routes at the token that decides each pair",
                       {text_column("Split", "split"), number_column("R", "routes", 0),
                        estimate_column("Shift, pp", "shift_pp", "interval", 1)},
                       rows);
  if (const auto rows = reach.rows("detectors"); !rows.empty())
    body += html_table("Linear detector of demographic content in the router's input, on validation tokens",
                       {number_column("Layer", "layer", 0), number_column("Area under the curve", "auc", 3)}, rows);
  if (const auto rows = reach.rows("router_restarts"); !rows.empty())
    body += html_table("Restarts of the trained router",
                       {number_column("Learning rate", "learning_rate"),
                        number_column("Comparisons ordered right", "preference_accuracy", 2),
                        number_column("Tokens with no better sampled route left", "adoption", 2)},
                       rows);
  body += "<details><summary>What was searched</summary>\n<ul>\n";
  for (const Node& sentence : reach.rows("searched")) body += "<li>" + escape_html(sentence.text()) + "</li>\n";
  body += "</ul>\n</details>\n";
  return section("reach", "Upper bounds on control", body);
}

}  // namespace fare
