// fare diagnose: the whole diagnosis of one model, from sensitivity to verdict.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "fare/core/ranks.h"

namespace fare::cli {

// `arguments`: the command line, kept in the report; must outlive the parse.
void add_diagnose_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments);

}  // namespace fare::cli
