// The lines of a score file (docs/scores.md).
#pragma once

#include <string>

#include "fare/scoring/request.h"

namespace fare {

// One JSON line, newline included; numbers read back to the same binary64.
std::string score_line(const Request& request, const Score& score);

}  // namespace fare
