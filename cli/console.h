// stderr: one updating line on a terminal, a plain line every few seconds otherwise; Ctrl-C asks the work to stop.
#pragma once

#include "cli/flags.h"
#include "fare/core/progress.h"

namespace fare::cli {

// Progress, notes and warnings of a command as its flags ask; installs the Ctrl-C handler.
Progress console(const CommonFlags& flags);

// Also appends notes and the end of every part to a file, with times.
void log_to_file(Progress& progress, const std::filesystem::path& path);

// A warning on stderr, shown even with --quiet.
void warn(const std::string& message);

}  // namespace fare::cli
