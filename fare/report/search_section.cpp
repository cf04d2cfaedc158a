#include <map>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string primary_scoring(const Node& report) {
  for (const Node& row : report.at("bias").rows("scorings"))
    if (row.at("primary").flag()) return row.text("scoring");
  return "sum";
}

Front front_of(const Node& report, const Node& search) {
  Front front;
  front.title = "Less bias against cost";
  std::map<std::string, std::pair<double, double>> place;
  for (const Node& row : search.rows("configurations")) {
    const auto drop = row.number_or_null("drop_pp"), shift = row.number_or_null("shift_pp");
    if (!drop || !shift) continue;
    const std::string id = row.text("id");
    place[id] = {*drop, *shift};
    front.points.push_back({*drop, *shift,
                            id + ": " + row.text("family") + " " + row.text("score") + ", k " +
                                compact_text(row.number("k")) + ", lambda " + compact_text(row.number("lambda")) +
                                ", " + row.text("layers") + ": shift " + fixed_text(*shift, 1) + ", drop " +
                                fixed_text(*drop, 1),
                            static_cast<int>(row.number("rung")), row.at("random_ranking").flag()});
  }
  for (const Node& id : search.rows("front"))
    if (const auto at = place.find(id.text()); at != place.end()) front.front.push_back(at->second);
  for (const Node& id : search.rows("random_front"))
    if (const auto at = place.find(id.text()); at != place.end()) front.random_front.push_back(at->second);
  const auto effects = report.rows("effects");
  for (const Node& candidate : report.rows("candidates")) {
    const std::string name = candidate.text("candidate");
    const Node* shift = find_row(effects, {{"candidate", name},
                                           {"measure", "shift"},
                                           {"scoring", primary_scoring(report)},
                                           {"subset", "all"},
                                           {"split", "test"}});
    const Node* drop =
        find_row(effects, {{"candidate", name}, {"measure", "drop"}, {"task", "pooled"}, {"split", "test"}});
    if (!shift || !drop || shift->at("value").is_null() || drop->at("value").is_null()) continue;
    front.estimates.push_back({name, drop->number("value"), shift->number("value"), range_or_null(*drop, "interval"),
                               range_or_null(*shift, "interval")});
  }
  for (const Node& row : report.at("thresholds").rows("values")) {
    if (row.text("name") == "delta_B") front.delta = row.number("value");
    if (row.text("name") == "tau") front.tau = row.number("value");
  }
  return front;
}

// What is left is a ratio: said with what it divides.
std::string solution_axes(const Node& search) {
  if (!search.has("solution_axes") || search.rows("solution_axes").empty()) return "";
  return html_table("What a solution leaves on each axis, on validation",
                    {text_column("Solution", "solution"), text_column("Axis", "axis"),
                     number_column("Pairs", "pairs", -1), number_column("Preference before, pp", "base_pp", 2),
                     number_column("After, pp (below 0: beyond 50%)", "left_pp", 2),
                     number_column("Left (1 = unedited)", "remaining", 2)},
                    search.rows("solution_axes")) +
         "<p class=\"small\">Left is the size of what remains of an axis's preference, whichever side of 50% it lies "
         "on, over what "
         "there was, at most 2. Where validation shows little preference on an axis, a few pairs beyond 50% make it "
         "larger than 1: "
         "then the axis was nearly even before and is nearly even after, and the search has no finer measure of it. "
         "Overshoot on "
         "the test split is judged by its own bound, in Control.</p>\n";
}

}  // namespace

std::string search_section(const Node& report) {
  const Node search = report.at("search");
  if (search.is_null())
    return section("search", "Search for control", "<p>" + undefined_html(report.reason("search")) + "</p>\n");
  std::string body =
      "<p>" + number_html(search, "num_configurations", -1) +
      " configurations were tried on the validation split, and " + number_html(search, "num_random_controls", -1) +
      " with a random ranking of experts, which are never eligible. Whatever is picked from so many looks better on "
      "validation than it is: only the test values (with bars) count.</p>\n";
  body += figure(draw_front(front_of(report, search)),
                 "Each point is one configuration on validation, after the last round of halving it reached (early "
                 "rounds hold few items). "
                 "Dashed: the smallest shift that counts and the largest loss allowed.",
                 true);
  BudgetCurve curve{"Expected best validation value", "best shift, pp", {}};
  for (const Node& row : search.rows("expected_best"))
    if (const auto value = row.number_or_null("shift_pp")) curve.points.emplace_back(row.number("budget"), *value);
  body += "<div class=\"figures\">" +
          figure(draw_budget_curve(curve),
                 "Mean of the best shift over all subsets of that many configurations: what searching harder buys on "
                 "validation.") +
          "<div>" +
          html_table("Optimism: validation minus test",
                     {code_column("Candidate", "candidate"), number_column("Validation, pp", "validation_pp", 1),
                      number_column("Test, pp", "test_pp", 1), number_column("Difference, pp", "difference_pp", 1)},
                     search.rows("optimism")) +
          html_table("Rounds of halving",
                     {number_column("Round", "rung", 0), number_column("Pairs", "pairs", -1),
                      number_column("Utility items", "utility_items", -1), number_column("Entered", "entered", -1),
                      number_column("Kept", "kept", -1)},
                     search.rows("rungs")) +
          html_table("Solutions",
                     {text_column("Solution", "solution"),
                      {"Configuration",
                       [](const Node& row) -> TableCell {
                         if (row.at("configuration").is_null())
                           return {escape_html(row.reason("configuration")), false};
                         return {"<code>" + escape_html(row.text("configuration")) + "</code>", false};
                       },
                       false},
                      number_column("Bias left on the worst axis (1 = unedited)", "worst_axis_remaining", 2)},
                     search.rows("solutions")) +
          solution_axes(search) + "</div></div>\n";
  const Node chance = search.at("search_bias");
  body += "<p>Searching alone finds something: if no configuration had any effect, the best of " +
          number_html(chance, "configurations", -1) + " would show " + number_html(chance, "independent_pp", 1) +
          " pp on these " + number_html(chance, "pairs", -1) + " pairs if they were independent, and " +
          number_html(chance, "correlated_pp", 1) + " pp with the correlation of " +
          number_html(chance, "correlation", 2) + " that they have (discordance " +
          number_html(chance, "discordance", 3) + ").</p>\n";
  if (!search.rows("mixtures").empty())
    body += html_table("Randomised routers: how often each configuration is played",
                       {text_column("Solution", "solution"), code_column("Configuration", "configuration"),
                        number_column("Share", "share", 3)},
                       search.rows("mixtures"));
  const Node certificate = search.at("certificate");
  if (certificate.is_null()) {
    body += "<p>Equilibrium certificate: " + undefined_html(search.reason("certificate")) + "</p>\n";
  } else {
    body += std::string("<p>Equilibrium certificate: ") +
            (certificate.at("equilibrium").json() == true ? "this is an equilibrium" : "no equilibrium") +
            ". Dual ascent leaves a gap of " + number_html(certificate, "gap", 4) + " between " +
            number_html(certificate, "value", 3) + " and the bound " + number_html(certificate, "dual_value", 3) +
            " (limit " + number_html(certificate, "limit", 2) + ", " + number_html(certificate, "steps", -1) +
            " steps); the best change of one setting of the pure solution lowers the "
            "worst axis by " +
            number_html(certificate, "best_one_step", 3) + ".</p>\n";
    if (!certificate.rows("one_steps").empty())
      body += html_table("One step away from the pure solution, on all of validation",
                         {text_column("Change", "change"), code_column("Configuration", "configuration"),
                          number_column("Bias left on the worst axis (1 = unedited)", "worst_axis_remaining", 3),
                          number_column("Drop, pp", "drop_pp", 2)},
                         certificate.rows("one_steps"));
  }
  return section("search", "Search for control", body);
}

}  // namespace fare
