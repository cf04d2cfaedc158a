// fare generate: prompts in, continuations out, greedy or sampled, under an optional intervention.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_generate_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
