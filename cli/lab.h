// `fare lab make ..`: writes control checkpoints with a known answer and random ones.
#pragma once

#include <CLI/CLI.hpp>

namespace fare {

void add_lab_command(CLI::App& program, int& exit_status);

}  // namespace fare
