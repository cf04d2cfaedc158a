#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {
namespace {

const std::pair<const char*, const char*> kParts[] = {{"calibration", "Error rates on control models"},
                                                      {"sensitivity", "Routing sensitivity"},
                                                      {"router_profile", "Router profile"},
                                                      {"experts", "Expert scores"},
                                                      {"search", "Search"},
                                                      {"reach", "Upper bounds on control"},
                                                      {"dose_control", "Dose control"},
                                                      {"masking", "Group masking"},
                                                      {"conditions", "Architectural conditions"},
                                                      {"generation", "Transfer to generated text"},
                                                      {"positive_control", "Positive control"}};

// An argument as a shell would need it.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%") ==
                                          std::string::npos;
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

std::string absent_section(const Node& report) {
  std::string items;
  for (const auto& [key, title] : kParts)
    if (report.at(key).is_null())
      items += "<li><strong>" + std::string(title) + "</strong>: " + undefined_html(report.reason(key)) + "</li>\n";
  for (const Node& verdict : report.rows("verdicts"))
    if (verdict.at("code").is_null())
      items += "<li><strong>Verdict on " + escape_html(verdict.text("control_class")) +
               " control</strong>: " + undefined_html(verdict.reason("code")) + "</li>\n";
  if (items.empty()) items = "<li>Nothing: every part was run.</li>\n";
  return section("absent", "What was not run",
                 "<ul>\n" + items + "</ul>\n<p>The verdict treats none of these as passed.</p>\n");
}

std::string repeat_section(const Node& report) {
  const Node runtime = report.at("runtime");
  std::string command;
  for (const Node& word : runtime.rows("command")) command += (command.empty() ? "" : " ") + shell_word(word.text());
  std::string body = "<pre>" + escape_html(command) +
                     "</pre>\n<p>The run folder holds the effective configuration: <code>fare diagnose --config "
                     "RUN/config.toml --out NEW</code> repeats it, <code>fare report RUN</code> draws this page again "
                     "from its rows.</p>\n<dl>\n";
  const auto fact = [&](const std::string& name, const std::string& html) {
    body += "<dt>" + name + "</dt><dd>" + html + "</dd>\n";
  };
  fact("profile", escape_html(report.text("profile")));
  fact("seed", number_html(runtime, "seed", 0));
  fact("device", escape_html(runtime.text("device")) + ", " + escape_html(runtime.text("dtype")) + ", " +
                     escape_html(runtime.text("backend")) + ", " + number_html(runtime, "threads", 0) + " threads");
  fact("commit", runtime.at("commit").is_null() ? undefined_html(runtime.reason("commit"))
                                                : "<code>" + escape_html(runtime.text("commit")) + "</code>");
  std::string versions;
  for (const auto& [name, version] : runtime.at("versions").json().items())
    versions += (versions.empty() ? "" : ", ") + escape_html(name) + " " +
                escape_html(version.is_string() ? version.get<std::string>() : version.dump());
  fact("versions", versions);
  fact("thresholds", "<code class=\"hash\">" + escape_html(report.at("thresholds").text("sha256")) + "</code>");
  fact("took",
       number_html(runtime, "seconds", 1) + " s, " + number_html(runtime, "forwards", 1) + " passes over the data");
  body += "</dl>\n" + html_table("Time by part",
                                 {text_column("Part", "part"), number_column("Seconds", "seconds", 1),
                                  number_column("Passes over the data", "forwards", 1)},
                                 runtime.rows("parts"));
  return section("repeat", "How to repeat this run", body);
}

std::string limits_section(const Node&) {
  return section("limits", "What this page cannot say", R"(<ul>
<li>The scores measure preference between two given sentences, not harm to anyone.</li>
<li>50% is not fairness: it is only where neither sentence of a pair is preferred more often.</li>
<li>A result that is not an effect is called equivalent only inside a margin set beforehand; otherwise it is unresolved, with the
smallest effect that would have been seen (MDE).</li>
<li>Expert scores s1 to s4 nominate experts; they are not causes. Only ablations and edits are.</li>
<li>Failure of static routing control is not failure of all routing control: token-conditional and router-only control have verdicts of their own.</li>
<li>That masking the top experts costs more than masking the bottom ones does not show shared content: the two differ in usage by construction.</li>
<li>Thresholds, metrics and methods are this program's own choices unless a source is named; other choices may give other answers.</li>
</ul>
)");
}

}  // namespace fare
