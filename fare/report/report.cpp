#include "fare/report/report.h"

#include "fare/core/error.h"
#include "fare/report/html.h"
#include "fare/report/page.h"
#include "fare/report/sections.h"
#include "fare/report/tables_csv.h"

namespace fare {
namespace {

// What fare probe and fare mask write: their sentence and their sections.
ReportFiles render_part(const Node& root, const std::string& kind,
                        const std::vector<std::string (*)(const Node&)>& sections) {
  const std::string title = kind + root.at("model").text("name");
  std::string body = "<header><h1>" + escape_html(title) + "</h1></header>\n<main>\n<p class=\"headline\">" +
                     escape_html(root.text("sentence")) + "</p>\n";
  for (const auto part : sections) body += part(root);
  return {html_page(title, body + "</main>\n"), csv_tables(root)};
}

}  // namespace

ReportFiles render_report(const OrderedJson& report) {
  const Node root(report, "");
  const std::string format = root.text("format");
  if (format == "fare-probe/1") return render_part(root, "FARE probe: ", {sensitivity_section, router_section});
  if (format == "fare-mask/1") return render_part(root, "FARE mask: ", {experts_section, masking_section});
  if (format != "fare-report/1")
    throw FormatError("report.json", "format",
                      "expected fare-report/1, found " + format + "; make it again with fare diagnose");
  const std::string title = "FARE report: " + root.at("model").text("name");
  std::string body = "<header><h1>" + escape_html(title) + "</h1></header>\n<main>\n" + headline_section(root);
  body +=
      R"(<nav aria-label="Contents"><a href="#subject">What was measured</a> <a href="#rules">Rules</a> <a href="#bias">Base preference</a>
<a href="#sensitivity">Sensitivity</a> <a href="#router">Router</a> <a href="#experts">Experts</a> <a href="#search">Search</a> <a href="#reach">Upper bounds</a>
<a href="#control">Control</a> <a href="#masking">Masking</a> <a href="#conditions">Conditions</a> <a href="#routes">Routes</a> <a href="#generation">Written text</a>
<a href="#calibration">Error rates</a> <a href="#stages">All stages</a> <a href="#absent">Not run</a>
<a href="#repeat">Repeat</a> <a href="#limits">Limits</a></nav>
)";
  for (const auto part : {subject_section, rules_section, bias_section, sensitivity_section, router_section,
                          experts_section, search_section, reach_section, control_section, masking_section,
                          conditions_section, route_examples_section, transfer_section, positive_control_section,
                          calibration_section, stages_section, absent_section, repeat_section, limits_section})
    body += part(root);
  return {html_page(title, body + "</main>\n"), csv_tables(root)};
}

}  // namespace fare
