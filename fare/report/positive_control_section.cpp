// The positive control (methods E7): what was planted into the model, and how small it could be and still be found.
#include "fare/report/html.h"
#include "fare/report/sections.h"
#include "fare/report/table.h"

namespace fare {

std::string positive_control_section(const Node& report) {
  const std::string title = "Positive control";
  const Node control = report.at("positive_control");
  if (control.is_null()) return "";
  std::string body =
      "<p>Would this diagnosis have found a control if there were one? An expert that carries a preference of known "
      "size was added to "
      "this very model, and the diagnosis ran again on as many pairs. The smallest size that it called controllable is "
      "its detection "
      "limit: what a verdict of nothing found is worth.</p>\n<p class=\"note\">" +
      escape_html(control.text("sentence")) + "</p>\n";
  if (const Node planted = control.at("planted"); !planted.is_null()) {
    const auto code = [&](const char* key) { return "<code>" + escape_html(planted.text(key)) + "</code>"; };
    body += "<p>Planted: after " + code("group") + " " + code("shared_word") + ", for " + code("trait") +
            " and against " + code("against") + "; not after " + code("other") + ". It is expert " +
            number_html(planted, "expert", 0) + " of layer " + number_html(planted, "layer", 0) + "; chosen there by " +
            fixed_text(100 * planted.number("chosen_after_group"), 0) +
            "% of the tokens before the trait, after the other name by " +
            fixed_text(100 * planted.number("chosen_after_other"), 0) + "%, elsewhere by " +
            fixed_text(100 * planted.number("chosen_elsewhere"), 0) + "%.</p>\n";
  }
  if (const auto levels = control.rows("levels"); !levels.empty())
    body += html_table("What the diagnosis made of each planted preference",
                       {number_column("Planted, pp", "planted_pp", 1), number_column("Margin, nats", "margin_nats", 2),
                        flag_column("Found (stages 0, 2, 3)", "found"), flag_column("Controllable", "controllable"),
                        number_column("Shift on test, pp", "shift_pp", 1), code_column("Verdict", "code"),
                        number_column("Stopped at stage", "stage", 0), text_column("In words", "sentence")},
                       levels);
  return section("positive-control", title, body);
}

}  // namespace fare
