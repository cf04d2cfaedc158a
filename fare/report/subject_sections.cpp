#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {
namespace {

std::string fact(const std::string& name, const std::string& html) {
  return "<dt>" + name + "</dt><dd>" + html + "</dd>\n";
}

std::string code(const std::string& text) { return "<code class=\"hash\">" + escape_html(text) + "</code>"; }

std::string code_or_reason(const Node& object, const std::string& key) {
  return object.at(key).is_null() ? undefined_html(object.reason(key)) : code(object.text(key));
}

}  // namespace

std::string subject_section(const Node& report) {
  const Node model = report.at("model");
  std::string layers;
  for (const Node& layer : model.rows("moe_layers"))
    layers += (layers.empty() ? "" : ", ") + compact_text(layer.number());
  std::string body = "<dl>\n";
  body += fact("model", "<strong>" + escape_html(model.text("name")) + "</strong> (" +
                            escape_html(model.text("model_type")) + ")");
  body += fact("routing",
               number_html(model, "num_experts", 0) + " experts in each of layers " + layers + " of " +
                   number_html(model, "num_layers", 0) + "; top " + number_html(model, "top_k", 0) + ", " +
                   escape_html(model.text("score_function")) + " scores, " +
                   (model.text("weight_mode") == "raw" ? "raw weights (mode U)" : "renormalised weights (mode R)") +
                   "; shared experts: " + number_html(model, "num_shared_experts", 0));
  body += fact("size",
               number_html(model, "num_parameters", -1) + " parameters, " + number_html(model, "weights_bytes", -1) +
                   " bytes stored as " + escape_html(model.text("stored_dtype")) + "; hidden width " +
                   number_html(model, "hidden_size", -1) + ", vocabulary " + number_html(model, "vocab_size", -1));
  body += fact("fingerprint", code_or_reason(model, "fingerprint"));
  body += fact("config.json", code_or_reason(model, "config_sha256"));
  body += fact("tokenizer", code_or_reason(model, "tokenizer_sha256"));
  body += "</dl>\n";
  const Node data = report.at("data");
  body += html_table("Data",
                     {text_column("Role", "role"),
                      code_column("File", "name"),
                      number_column("Items", "items", -1),
                      number_column("Used", "used", -1),
                      {"Skipped",
                       [](const Node& row) -> TableCell {
                         std::string text = number_html(row, "skipped", -1);
                         if (row.has("skipped_note")) text += ": " + escape_html(row.text("skipped_note"));
                         return {text, false};
                       },
                       false},
                      {"SHA-256",
                       [](const Node& row) -> TableCell {
                         return {code(row.text("sha256")), false};
                       },
                       false}},
                     data.rows("files"));
  if (const auto limit = data.number_or_null("limit"))
    body +=
        "<p class=\"note\">Only the first " + compact_text(*limit) + " items of each task were used (--limit).</p>\n";
  body += "<div class=\"pair\">" +
          html_table("Axes",
                     {text_column("Axis", "axis"), number_column("Pairs", "pairs", -1),
                      number_column("Clusters", "clusters", -1)},
                     data.rows("axes")) +
          html_table("Null pairs",
                     {text_column("Kind", "null"), number_column("Pairs", "pairs", -1),
                      number_column("Demographic pairs without one", "missing", -1), text_column("Source", "source"),
                      text_column("Note", "note")},
                     data.rows("nulls")) +
          html_table("Splits (seed " + compact_text(report.at("splits").number("seed")) + ")",
                     {text_column("Set", "set"), text_column("Split", "split"), number_column("Items", "items", -1),
                      number_column("Clusters", "clusters", -1)},
                     report.at("splits").rows("counts")) +
          "</div>\n";
  return section("subject", "What was measured", body);
}

std::string rules_section(const Node& report) {
  const Node thresholds = report.at("thresholds");
  std::string body = "<p>Thresholds, splits and test families were written to <code>" +
                     escape_html(thresholds.text("file")) + "</code> before the test split was opened" +
                     (thresholds.at("hash_checked").flag() ? ", and were unchanged when it was"
                                                           : "; <strong>its hash was not checked</strong>") +
                     ": " + code(thresholds.text("sha256")) + ". Intervals decide by their " +
                     (thresholds.text("interval") == "bca" ? "BCa" : "percentile") + " bounds.</p>\n";
  body +=
      "<div class=\"pair\">" +
      html_table("Thresholds",
                 {code_column("Name", "name"), number_column("Value", "value"), text_column("Unit", "unit"),
                  text_column("Meaning", "meaning")},
                 thresholds.rows("values")) +
      html_table("Test families",
                 {text_column("Family", "name"), number_column("Tests", "size", 0), text_column("Members", "members")},
                 thresholds.rows("families")) +
      html_table("Items needed",
                 {text_column("For", "what"), number_column("Needed", "needed"), number_column("Have", "have")},
                 thresholds.rows("needs")) +
      "</div>\n";
  body += html_table("Self-checks, run before anything else",
                     {text_column("Check", "name"),
                      {"Result",
                       [](const Node& row) -> TableCell {
                         if (row.at("passed").is_null()) return {undefined_html(row.reason("passed")), true};
                         return {row.at("passed").flag() ? "<span class=\"chip yes\">✓ passed</span>"
                                                         : "<span class=\"chip no\">✗ failed</span>",
                                 false};
                       },
                       false},
                      number_column("Value", "value"),
                      number_column("Limit", "limit"),
                      text_column("Unit", "unit"),
                      {"Kind",
                       [](const Node& row) -> TableCell {
                         return {row.at("required").flag() ? "required" : "advisory", false};
                       },
                       false}},
                     report.rows("self_checks"));
  return section("rules", "Rules fixed beforehand", body);
}

}  // namespace fare
