// fare validate: checks files without running a model.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_validate_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
