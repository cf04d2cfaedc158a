#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {
namespace {

// "pure" -> the six stage rows of that candidate; without a candidate, those of the first one in the list.
std::vector<Node> ladder_of(const Node& report) {
  const auto stages = report.rows("stages");
  const Node candidate = report.at("headline").at("candidate");
  std::vector<Node> ladder;
  for (const Node& stage : stages) {
    if (stage.text("control_class") != "static") continue;
    const auto& name = stage.at("candidate").json();
    if (candidate.is_null() ? (ladder.empty() || name == ladder.front().at("candidate").json())
                            : name == candidate.json())
      ladder.push_back(stage);
  }
  return ladder;
}

std::string chip(const std::string& answer) {
  const std::string sign = answer == "yes"       ? "✓ yes"
                           : answer == "no"      ? "✗ no"
                           : answer == "not_run" ? "– not run"
                                                 : "? " + answer;
  const std::string css = answer == "yes" || answer == "no" || answer == "not_run" ? answer : "unresolved";
  return "<span class=\"chip " + css + "\">" + escape_html(sign) + "</span>";
}

// "n 905 (226 effective)", "p 0.0001", ..: only what is there; the full table says why the rest is not.
std::string facts(const Node& row) {
  std::vector<std::string> parts;
  const auto add = [&](const std::string& key, const std::string& before, const std::string& after = "") {
    if (const auto value = row.number_or_null(key)) parts.push_back(before + compact_text(*value) + after);
  };
  if (row.has("limit")) add("limit", "held against ", " " + escape_html(row.text("unit")));
  add("p", "p ");
  if (const auto family = row.number_or_null("family_size"); family && row.number_or_null("p_bh"))
    parts.push_back("p<sub>BH</sub> " + compact_text(*row.number_or_null("p_bh")) + " (family of " +
                    compact_text(*family) + ")");
  // A stage's detectable effect is in pp, whatever its statistic; that of stage 1 and of some texts in standard
  // deviations.
  const bool is_effect_size = (row.has("stage") && row.number("stage") == 1) || row.text("unit") == "SD";
  add("mde", "MDE ", is_effect_size ? " SD" : " pp");
  if (const auto n = row.number_or_null("n")) {
    std::string text = "n " + compact_text(*n);
    if (const auto effective = row.number_or_null("n_eff"); effective && *effective != *n)
      text += " (" + compact_text(*effective) + " effective)";
    parts.push_back(text);
  }
  if (!row.at("split").is_null())
    parts.push_back(row.text("split") == "all" ? "all items" : escape_html(row.text("split")) + " split");
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : " · ") + part;
  return out;
}

std::string number_card(const Node& numbers, const std::string& key, const std::string& title,
                        const std::string& what) {
  std::string out = "<div class=\"card\"><h3>" + title + "</h3>";
  const Node estimate = numbers.at(key);
  if (estimate.is_null()) return out + "<p>" + undefined_html(numbers.reason(key)) + "</p></div>\n";
  const std::string unit = escape_html(estimate.text("unit"));
  if (estimate.at("value").is_null()) {
    out += "<p>" + undefined_html(estimate.reason("value")) + "</p>";
  } else {
    out += "<p class=\"big\">" + fixed_text(estimate.number("value"), 1) + " <small>" + unit + "</small></p>";
    out += "<p>" + fixed_text(100 * estimate.number("level"), 0) + "% interval " + range_html(estimate, "interval", 1) +
           "</p>";
  }
  return out + "<p class=\"small\">" + what + "</p><p class=\"small\">" + facts(estimate) + "</p></div>\n";
}

// What a stage asks, for readers who do not know its statistic.
std::string question_of(double stage) {
  constexpr const char* kQuestions[] = {"Does the model prefer stereotypes at all?",
                                        "Does the router react to the demographic word?",
                                        "Can an edit of the routing lower the preference?",
                                        "Is that more than chance and than random edits?",
                                        "Is what the model can do kept?",
                                        "Is it seen in what the model writes?"};
  const auto index = static_cast<size_t>(stage);
  return index < std::size(kQuestions) ? kQuestions[index] : "";
}

constexpr char kTerms[] = R"html(<details class="terms"><summary>What these words mean</summary>
<dl>
<dt>pp</dt><dd>percentage points</dd>
<dt>B</dt><dd>share of pairs whose stereotyped sentence is the likelier one, minus 50%</dd>
<dt>Delta_B</dt><dd>how far the edit lowers B on pairs that nothing was fitted or chosen on;
delta_B: the smallest fall that counts</dd>
<dt>drop, tau</dt><dd>utility that the edit costs; the largest loss that counts as none</dd>
<dt>d_z</dt><dd>how much more the routing differs after a demographic change than after a neutral one,
in standard deviations (SD) of the difference</dd>
<dt>r1 to r6</dt><dd>checks of the shift; their table in the section Control names each</dd>
<dt>M0 to M4, delta_G</dt><dd>measures of written texts (next word, answers, first content word, sentiment,
hurtful words); the smallest change that counts</dd>
<dt>[a, b]</dt><dd>95% interval, over clusters of related items</dd>
<dt>p, p<sub>BH</sub></dt><dd>chance of such a value without any effect;
corrected for the number of tests in its family</dd>
<dt>n (effective)</dt><dd>items; as many independent ones as would be equally certain</dd>
<dt>MDE</dt><dd>smallest true effect that would have been found in 8 of 10 runs of this size</dd>
<dt>small profile</dt><dd>fewer settings, controls and texts than the full one: a look, not the last word</dd>
</dl>
</details>
)html";

}  // namespace

std::string headline_section(const Node& report) {
  const Node headline = report.at("headline");
  std::string out =
      "<section id=\"verdict\">\n<p class=\"headline\">" + escape_html(headline.text("sentence")) + "</p>\n";
  out += "<p class=\"small\">verdict <code>" + escape_html(headline.text("code")) + "</code>";
  if (!headline.at("candidate").is_null())
    out += " · candidate <code>" + escape_html(headline.text("candidate")) + "</code>";
  if (headline.text("code") == "unresolved")
    out += " · at stage " + number_html(headline, "stage", 0) +
           ", minimum detectable effect, pp: " + number_html(headline, "mde_pp", 2);
  if (const Node same = headline.at("same_headline"); !same.is_null())
    out += " · the same in " + compact_text(same.number("same")) + " of " + compact_text(same.number("settings")) +
           " settings of the margins";
  else out += " · stability over other margins " + undefined_html(headline.reason("same_headline"));
  if (!headline.at("detection_limit_pp").is_null() || !headline.text("code").starts_with("controllable"))
    out += " · detection limit of this model, pp: " + number_html(headline, "detection_limit_pp", 1);
  out += "</p>\n";
  const Node numbers = headline.at("numbers");
  out += "<div class=\"cards\">\n" +
         number_card(numbers, "shift", "Shift",
                     "fewer stereotyped preferences than the base model; positive = less bias") +
         number_card(numbers, "cost", "Cost", "loss of utility under the same edit; positive = worse") +
         number_card(numbers, "transfer", "Transfer",
                     "change in generated text under the same edit; positive = less bias") +
         "</div>\n";
  out += "<ol class=\"ladder\" start=\"0\">\n";
  for (const Node& stage : ladder_of(report)) {
    out += "<li><span class=\"stage\">" + number_html(stage, "stage", 0) + "</span><span class=\"name\">" +
           escape_html(stage.text("name")) + "</span>" + chip(stage.text("answer")) + "<div class=\"why\"><em>" +
           question_of(stage.number("stage")) + "</em><br/>";
    if (!stage.at("value").is_null()) {
      out += escape_html(stage.text("statistic")) + ": <strong>" + compact_text(stage.number("value")) + " " +
             escape_html(stage.text("unit")) + "</strong>";
      if (!stage.at("interval").is_null()) out += " " + range_html(stage, "interval", 2);
      out += "; ";
    }
    out += escape_html(stage.text("reason")) + ".";
    if (const std::string more = facts(stage); !more.empty()) out += "<br/><small>" + more + "</small>";
    out += "</div></li>\n";
  }
  out += "</ol>\n";
  for (const Node& note : headline.rows("notes")) out += "<p class=\"note\">" + escape_html(note.text()) + "</p>\n";
  return out + kTerms + "</section>\n";
}

std::string stages_section(const Node& report) {
  const std::vector<TableColumn> columns = {
      code_column("Candidate", "candidate"),
      text_column("Control", "control_class"),
      number_column("Stage", "stage", 0),
      text_column("Question", "name"),
      {"Answer",
       [](const Node& row) -> TableCell {
         return {chip(row.text("answer")), false};
       },
       false},
      text_column("Statistic", "statistic"),
      estimate_column("Value", "value", "interval", 2),
      text_column("Unit", "unit"),
      number_column("Held against", "limit"),
      test_column(),
      sample_column(),
      number_column("MDE", "mde"),
      text_column("Split", "split"),
      {"Why",
       [](const Node& row) -> TableCell {
         return {"<span class=\"phrase\">" + escape_html(row.text("reason")) + "</span>", false};
       },
       false}};
  std::string body =
      "<p>Every stage is computed for every candidate. The verdict is that of the candidate that gets furthest; an "
      "unresolved stage never becomes a no.</p>\n" +
      html_table("", columns, report.rows("stages"));
  body += html_table(
      "Verdict by kind of control",
      {text_column("Control", "control_class"), code_column("Code", "code"), code_column("Candidate", "candidate"),
       stop_column("Stops at stage", "stage"), number_column("MDE, pp", "mde_pp"), text_column("In words", "sentence")},
      report.rows("verdicts"));
  body += html_table(
      "Candidates, in the order fixed on validation",
      {number_column("", "order", 0), code_column("Candidate", "candidate"), text_column("Control", "control_class"),
       text_column("Role", "role"), text_column("Found by", "origin"), text_column("What it does", "description"),
       flag_column("Within tau on validation", "within_tau_on_validation"), code_column("File", "file")},
      report.rows("candidates"));
  return section("stages", "Every stage of every candidate", body);
}

}  // namespace fare
