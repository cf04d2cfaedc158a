// fare probe: does the router react to demographic words, and how does it spread its load (methods A1, A2)?
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "fare/core/ranks.h"

namespace fare::cli {

void add_probe_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments);

}  // namespace fare::cli
