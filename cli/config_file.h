// --config FILE: any flag of a command from a TOML file; flags on the command line win.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace fare::cli {

// The arguments with those of the file named by --config appended: `key = value` becomes `--key value` unless `--key`
// is already there; true becomes a bare flag, false nothing, an array repeats the flag. Throws UsageError for a key
// that the command does not have, FormatError naming file and line for broken TOML.
std::vector<std::string> with_config_file(const std::vector<std::string>& arguments, const CLI::App& program);

}  // namespace fare::cli
