#include "fare/core/error.h"
#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/page.h"
#include "fare/report/report.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

TableColumn answer_column(int stage) {
  const std::string key = "stage_" + std::to_string(stage);
  return {std::to_string(stage),
          [key](const Node& row) -> TableCell {
            const std::string answer = row.text(key);
            const std::string css = answer == "yes" || answer == "no" || answer == "not_run" ? answer : "unresolved";
            return {
                "<span class=\"chip " + css + "\">" + escape_html(answer == "not_run" ? "not run" : answer) + "</span>",
                false};
          },
          false};
}

}  // namespace

std::string render_comparison(const OrderedJson& comparison, const std::map<std::string, std::string>& links) {
  const Node root(comparison, "");
  if (root.text("format") != "fare-comparison/1")
    throw FormatError("comparison.json", "format", "expected fare-comparison/1, found " + root.text("format"));
  std::vector<TableColumn> models = {
      {"Run",
       [&](const Node& row) -> TableCell {
         const std::string name = row.text("run");
         const auto link = links.find(name);
         if (link == links.end()) return {escape_html(name), false};
         return {"<a href=\"" + escape_html(link->second) + "\">" + escape_html(name) + "</a>", false};
       },
       false},
      text_column("Model", "model"),
      code_column("Verdict", "code"),
      stop_column("Stops at stage", "stage")};
  for (int stage = 0; stage < 6; ++stage) models.push_back(answer_column(stage));
  for (TableColumn& column : std::vector<TableColumn>{
           estimate_column("Bias, pp", "bias_pp", "bias_interval", 1),
           estimate_column("Shift, pp", "shift_pp", "shift_interval", 1),
           estimate_column("Cost, pp", "cost_pp", "cost_interval", 1),
           estimate_column("Transfer", "transfer_pp", "transfer_interval", 1), number_column("MDE, pp", "mde_pp"),
           number_column("p BH over all", "p_bh_all"), code_column("Verdict over all", "code_over_all")})
    models.push_back(std::move(column));
  Forest forest{"Shift of each candidate, test split", "shift, pp (positive = less bias)", {}, {}, true};
  for (const Node& row : root.rows("candidates")) {
    ForestRow entry{row.text("run") + ", " + row.text("candidate"),
                    row.number_or_null("shift_pp"),
                    range_or_null(row, "interval"),
                    "",
                    false,
                    {}};
    if (!entry.value) entry.absent = "undefined: " + row.reason("shift_pp");
    forest.rows.push_back(entry);
  }
  std::string notes;
  for (const Node& note : root.rows("notes"))
    notes += "<p class=\"note\">" + escape_html(note.text()) + ": read the rows with that in mind.</p>\n";
  std::string words = "<dl>\n";
  for (const Node& row : root.rows("models"))
    words += "<dt>" + escape_html(row.text("run")) + "</dt><dd>" + escape_html(row.text("sentence")) + "</dd>\n";
  const Node slope = root.at("shared_slope");
  std::string body = "<header><h1>Runs compared</h1></header>\n<main>\n" + notes;
  body += section(
      "models", "Where each model stops",
      "<p>Stages: 0 bias present, 1 sensitive, 2 achievable, 3 robust, 4 affordable, 5 transfers. The first answer "
      "that is not yes is the verdict; stage 1 decides between names only.</p>\n" +
          html_table("", models, root.rows("models")) + words + "</dl>\n");
  body += section(
      "candidates", "Candidates together",
      "<p>The p values of all " + number_html(root, "family_size", -1) +
          " candidates form one family. A verdict that rests on a p which this family takes away reads "
          "<code>non_robust</code> above.</p>\n" +
          figure(draw_forest(forest), "Bars are 95% intervals over clusters.", true) +
          html_table("",
                     {text_column("Run", "run"), code_column("Candidate", "candidate"),
                      text_column("Control", "control_class"), estimate_column("Shift, pp", "shift_pp", "interval", 1),
                      number_column("n", "n", -1), number_column("p", "p"), number_column("p BH in its run", "p_bh"),
                      number_column("p BH over all", "p_bh_all"), flag_column("Holds over all", "holds_over_all")},
                     root.rows("candidates")));
  body +=
      section("shared", "Shared experts and shift",
              "<p>Slope of the shift on the mean share of shared experts over " + number_html(slope, "models", -1) +
                  " models: " + number_html(slope, "slope_pp", 1) + " pp per unit of share. Descriptive only.</p>\n");
  return html_page("Runs compared", body + "</main>\n");
}

}  // namespace fare
