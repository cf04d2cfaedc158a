// fare gaps: how groups differ in scores that another program gave generated texts.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_gaps_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
