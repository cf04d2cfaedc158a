// fare calibrate
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_calibrate_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
