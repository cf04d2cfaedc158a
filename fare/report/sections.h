// The parts of the page, each a function of the whole report. All return HTML.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fare/report/node.h"

namespace fare {

// <section> with a heading that the table of contents can link to. `title` is plain text.
std::string section(const std::string& id, const std::string& title, const std::string& body);

// The first row whose text fields have the values given, or nullptr.
const Node* find_row(const std::vector<Node>& rows, const std::vector<std::pair<std::string, std::string>>& fields);

std::string headline_section(const Node& report);     // sentence, three numbers, ladder of the winning candidate
std::string stages_section(const Node& report);       // every stage of every candidate
std::string subject_section(const Node& report);      // model, data, splits
std::string rules_section(const Node& report);        // thresholds, families, self-checks
std::string bias_section(const Node& report);         // the base model's preference
std::string sensitivity_section(const Node& report);  // does the router react
std::string router_section(const Node& report);       // router profile
std::string experts_section(const Node& report);      // scores, heat maps
std::string search_section(const Node& report);       // front, random controls, halving, search effort
std::string reach_section(const Node& report);        // upper bounds on control
std::string control_section(const Node& report);      // effects on the test split, axes, robustness, dose control
std::string masking_section(const Node& report);
std::string conditions_section(const Node& report);        // buffering by shared experts, breadth
std::string route_examples_section(const Node& report);    // single pairs, token by token
std::string positive_control_section(const Node& report);  // what was planted and found; "" when it was not run
std::string calibration_section(const Node& report);       // how often the diagnosis errs
std::string transfer_section(const Node& report);          // what reaches written text; "" when it was not run
std::string absent_section(const Node& report);            // what was not run, with the reasons
std::string repeat_section(const Node& report);            // command, versions, time
std::string limits_section(const Node& report);            // what the page cannot say

}  // namespace fare
