// fare generate: prompts in, continuations out, greedy or sampled, under an optional intervention.
#pragma once

#include <CLI/CLI.hpp>

#include "fare/core/ranks.h"

namespace fare::cli {

void add_generate_command(CLI::App& program, int& exit_status, Ranks& ranks);

}  // namespace fare::cli
