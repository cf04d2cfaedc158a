// fare tasks: the benchmarks known here, their licences, and whether their data is there.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_tasks_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
