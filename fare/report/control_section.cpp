#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

// "shift of pairs, scoring sum, test split", with "filtered items" where only those count.
std::string effect_name(const Node& row) {
  std::string name = escape_html(row.text("measure")) + " of " + escape_html(row.text("task"));
  if (!row.at("scoring").is_null()) name += ", scoring " + escape_html(row.text("scoring"));
  if (row.text("subset") != "all") name += ", " + escape_html(row.text("subset")) + " items";
  if (row.text("split") != "test") name += ", " + escape_html(row.text("split")) + " split";
  return name;
}

std::string axes_part(const Node& report) {
  Forest forest{"Shift by axis, test split", "shift, pp (positive = less bias)", {}, {}, true};
  for (const Node& row : report.rows("per_axis")) {
    ForestRow entry{row.text("candidate") + ", " + row.text("axis"),
                    row.number_or_null("shift_pp"),
                    range_or_null(row, "interval"),
                    "",
                    false,
                    {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason("shift_pp");
    forest.rows.push_back(entry);
  }
  return figure(draw_forest(forest), "Bars are 95% intervals over clusters.", true) +
         html_table("",
                    {code_column("Candidate", "candidate"), text_column("Axis", "axis"),
                     number_column("Base, %", "pct_base", 1), number_column("Edited, %", "pct_edited", 1),
                     estimate_column("Shift, pp", "shift_pp", "interval", 1),
                     number_column("Remaining", "remaining", 2), flag_column("Overshoot", "overshoot"),
                     number_column("p", "p"), number_column("n", "n"), number_column("Clusters", "clusters")},
                    report.rows("per_axis"));
}

std::string baselines_part(const Node& report) {
  return html_table(
      "What an equally cheap control reaches: chosen on validation, measured on test; no stage depends on it",
      {text_column("Control", "baseline"), text_column("What", "detail"), number_column("Dose, nats", "dose_nats"),
       number_column("Candidate's dose", "target_dose_nats"), flag_column("Equal dose", "dose_matched"),
       number_column("Validation, pp", "validation_pp", 1),
       estimate_column("Shift, pp", "shift_pp", "shift_interval", 1), number_column("p", "p"),
       estimate_column("Drop, pp", "drop_pp", "drop_interval", 1), number_column("n", "n")},
      report.rows("baselines"));
}

std::string dose_part(const Node& report) {
  if (report.at("dose_control").is_null())
    return "<p>Dose control: " + undefined_html(report.reason("dose_control")) + "</p>\n";
  Forest forest{"Against random edits of equal dose", "shift, pp (positive = less bias)", {}, {}, true};
  for (const Node& entry : report.rows("dose_control")) {
    const std::string name = entry.text("candidate");
    ForestRow mark{name, entry.number_or_null("shift_pp"), std::nullopt, "", true, {}};
    ForestRow draws{"random, equal dose", entry.number_or_null("percentile95_pp"), std::nullopt, "", false, {}};
    if (!mark.value) mark.absent = "undefined: " + entry.reason("shift_pp");
    if (!draws.value) draws.absent = "undefined: " + entry.reason("percentile95_pp");
    for (const Node& draw : entry.rows("draws"))
      if (const auto value = draw.number_or_null("shift_pp"); value && draw.at("restricted").flag())
        draws.cloud.push_back(*value);
    forest.rows.push_back(mark);
    forest.rows.push_back(draws);
  }
  return figure(draw_forest(forest),
                "Small dots: random directions outside the chosen experts, tuned to the candidate's dose; the larger "
                "dot of that row is their 95th percentile, above which a shift must lie. In the table also for draws "
                "from all experts (unrestricted).",
                true) +
         html_table("",
                    {code_column("Candidate", "candidate"), number_column("Dose, nats", "dose_nats"),
                     text_column("Dose on", "dose_text"), number_column("Shift, pp", "shift_pp", 1),
                     number_column("95% of draws", "percentile95_pp", 1),
                     number_column("unrestricted", "percentile95_unrestricted_pp", 1), flag_column("Above", "passed"),
                     number_column("Tried", "tried", -1), number_column("Missed the dose", "failed_to_match", -1),
                     number_column("Worst mismatch", "worst_mismatch", 3)},
                    report.rows("dose_control"));
}

}  // namespace

std::string control_section(const Node& report) {
  std::string body = html_table(
      "Effects of each candidate",
      {code_column("Candidate", "candidate"),
       {"Effect",
        [](const Node& row) -> TableCell {
          return {"<span class=\"phrase\">" + effect_name(row) + "</span>", false};
        },
        false},
       {"Value",
        [](const Node& row) -> TableCell {
          if (row.at("value").is_null()) return {undefined_html(row.reason("value")), true};
          // The next cell says why there is none.
          if (row.at("interval").is_null() && !row.at("value").is_null() && row.at("bound_one_sided").is_null())
            return {number_html(row, "value", row.text("unit") == "pp" ? 2 : -1) + " " + escape_html(row.text("unit")) +
                        " <small>(no interval)</small>",
                    false};
          return {value_with_range_html(row, "value", "interval", row.text("unit") == "pp" ? 2 : -1) + " " +
                      escape_html(row.text("unit")),
                  false};
        },
        true},
       number_column("One-sided bound", "bound_one_sided"),
       number_column("Margin", "limit"),
       test_column(),
       number_column("Discordance", "discordance"),
       sample_column(),
       number_column("MDE", "mde"),
       flag_column("Equivalent", "equivalent")},
      report.rows("effects"));
  body += "<h3>Axis by axis</h3>\n" + axes_part(report);
  body +=
      "<h3>Robustness</h3>\n" + html_table("",
                                           {code_column("Candidate", "candidate"),
                                            code_column("Check", "check"),
                                            text_column("What", "what"),
                                            {"Holds",
                                             [](const Node& row) -> TableCell {
                                               if (row.at("passed").is_null())
                                                 return {undefined_html(row.reason("passed")), true};
                                               return {row.at("passed").flag() ? "<span class=\"chip yes\">✓ yes</span>"
                                                                               : "<span class=\"chip no\">✗ no</span>",
                                                       false};
                                             },
                                             false},
                                            number_column("Value", "value"),
                                            number_column("Limit", "limit"),
                                            text_column("Unit", "unit"),
                                            text_column("Note", "note")},
                                           report.rows("robustness"));
  body += "<h3>Dose control</h3>\n" + dose_part(report) + "<h3>Without routing</h3>\n" + baselines_part(report);
  return section("control", "Control on the test split", body);
}

}  // namespace fare
