// fare mask: what masking the nominated experts does, beside matched groups (methods A3, A8).
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "fare/core/ranks.h"

namespace fare::cli {

void add_mask_command(CLI::App& program, int& exit_status, Ranks& ranks, const std::vector<std::string>& arguments);

}  // namespace fare::cli
