// fare score: requests in, log-probabilities out, under an optional intervention; optional routing trace.
#pragma once

#include <CLI/CLI.hpp>

#include "fare/core/ranks.h"

namespace fare::cli {

void add_score_command(CLI::App& program, int& exit_status, Ranks& ranks);

}  // namespace fare::cli
