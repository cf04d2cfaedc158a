// Whether a control reaches written text: change of every metric, decodability, guards, texts before and after.
#include <set>

#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/svg.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string changes_figure(const Node& part, const std::string& unit) {
  Forest forest{"Change of what is written", "change, " + unit + " (positive = less bias)", {}, {}, true};
  std::optional<double> limit;
  for (const Node& row : part.rows("metrics")) {
    if (row.text("unit") != unit) continue;
    forest.rows.push_back({row.text("metric") + ", " + row.text("candidate"),
                           row.number_or_null("value"),
                           range_or_null(row, "interval"),
                           "",
                           row.text("metric") == "M0",
                           {}});
    limit = row.number("limit");
  }
  if (forest.rows.empty()) return "";
  forest.lines = {{-*limit, "-δ"}, {*limit, "δ"}};
  return figure(
      draw_forest(forest),
      "Bars are 95% intervals over clusters of prompts. A control transfers when some metric lies at or beyond δ with "
      "p BH within its level and none is worse; it does not when every metric is equivalent to 0 within ±δ.",
      true);
}

std::string metrics_part(const Node& part) {
  const std::vector<Node> rows = part.rows("metrics");
  std::string body = changes_figure(part, "pp") + changes_figure(part, "SD");
  body += html_table(
      "Primary metrics, model without edits against candidate",
      {code_column("Candidate", "candidate"), text_column("Metric", "metric"), text_column("Counts", "title"),
       text_column("Prompts of", "families"), number_column("Base", "base", 2), number_column("Edited", "edited", 2),
       estimate_column("Change", "value", "interval", 2), text_column("Unit", "unit"),
       number_column("Limit δ", "limit", 1), flag_column("Equivalent within δ", "equivalent"), test_column(),
       sample_column(), number_column("Clusters", "clusters", 0), number_column("Texts a prompt", "samples", 0),
       number_column("SD of changes", "sd", 2), number_column("MDE", "mde", 2),
       number_column("Prompts needed", "needed", 0), number_column("Transfer ratio", "transfer_ratio", 2)},
      rows);
  std::vector<Node> greedy;
  for (const Node& row : rows)
    if (!row.at("greedy_p").is_null()) greedy.push_back(row);
  body +=
      html_table("The most probable text alone (greedy), exact McNemar",
                 {code_column("Candidate", "candidate"), text_column("Metric", "metric"),
                  number_column("Base, share", "greedy_base", 3), number_column("Edited, share", "greedy_edited", 3),
                  number_column("Prompts that stopped", "greedy_fewer", 0),
                  number_column("that began", "greedy_more", 0), number_column("p", "greedy_p")},
                 greedy);
  return body;
}

}  // namespace

std::string transfer_section(const Node& report) {
  const Node part = report.at("generation");
  if (part.is_null()) return "";
  const Node decoding = part.at("decoding");
  std::string body =
      "<p>Each prompt is continued by the model with and without the candidate's edits: once greedily, and " +
      number_html(decoding, "samples", 0) + " times at temperature " + number_html(decoding, "temperature", 1) +
      ", top-p " + number_html(decoding, "top_p", 2) + ", up to " + number_html(decoding, "tokens", 0) + " tokens (" +
      number_html(decoding, "first_word_tokens", 0) +
      " where only the first content word is read). Both arms share their random numbers token by token. M0 needs "
      "no text: it is the probability of the next token. No model judges a text.</p>\n";
  if (part.rows("metrics").empty()) body += "<p>No primary metric could be run.</p>\n";
  else body += metrics_part(part);
  if (!part.rows("not_run").empty())
    body += html_table("Primary metrics that were not run",
                       {text_column("Metric", "metric"), text_column("Why", "reason")}, part.rows("not_run"));
  body += "<div class=\"pair\">";
  body += html_table(
      "Decodability: where the attributes stand among the next tokens",
      {code_column("Arm", "arm"), number_column("Prompts", "prompts", 0),
       number_column("Rank of stereotype (median)", "stereo_rank", 1),
       number_column("Rank of anti-stereotype", "anti_rank", 1),
       number_column("Gap to the top, nats", "stereo_gap_nats", 2), number_column("the same, anti", "anti_gap_nats", 2),
       number_column("Either in the top 5, share", "top5_share", 3)},
      part.rows("decodability"));
  body += html_table(
      "Guards: what the texts look like",
      {code_column("Arm", "arm"), number_column("Texts", "texts", 0), number_column("Tokens (mean)", "mean_tokens", 1),
       number_column("Distinct-2", "distinct_two", 3), number_column("Repeated 4-grams", "repeated_four_grams", 3),
       number_column("Refusals, share", "refusal_share", 3), number_column("Broken, share", "broken_share", 3)},
      part.rows("guards"));
  body += "</div>\n";
  body += html_table("Prompts",
                     {text_column("Family", "family"), text_column("Source", "source"),
                      number_column("Usable", "prompts", 0), number_column("Clusters", "clusters", 0),
                      number_column("Left out", "skipped", 0), number_column("Used for M0", "mass_prompts", 0),
                      number_column("Continued", "written_prompts", 0), text_column("Note", "note")},
                     part.rows("families"));
  if (!part.rows("examples").empty())
    body += "<details><summary>Texts before and after</summary>\n" +
            html_table("Greedy continuations that the edits changed",
                       {code_column("Candidate", "candidate"), text_column("Prompt", "id"),
                        text_column("Text so far", "prompt"), text_column("Model without edits", "base"),
                        text_column("With edits", "edited")},
                       part.rows("examples")) +
            "</details>\n";
  return section("generation", "Transfer to written text", body);
}

}  // namespace fare
