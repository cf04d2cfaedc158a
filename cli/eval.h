// fare eval: named benchmarks, results in the layout of lm-evaluation-harness.
#pragma once

#include <CLI/CLI.hpp>

#include "fare/core/ranks.h"

namespace fare::cli {

void add_eval_command(CLI::App& program, int& exit_status, Ranks& ranks);

}  // namespace fare::cli
