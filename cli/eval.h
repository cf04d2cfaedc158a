// fare eval: named benchmarks, results in the layout of lm-evaluation-harness.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

void add_eval_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
