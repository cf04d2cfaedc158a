// fare report: rebuilds page and tables of runs from their report.json; several runs get an index page.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_report_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
