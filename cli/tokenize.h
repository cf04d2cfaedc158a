// fare tokenize: ids, pieces and byte offsets of texts.
#pragma once

#include <CLI/CLI.hpp>

namespace fare::cli {

// The subcommand's callback does the work; it throws the errors of fare/core/error.h and leaves `exit_status` at 0.
void add_tokenize_command(CLI::App& program, int& exit_status);

}  // namespace fare::cli
