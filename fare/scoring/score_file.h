// The lines of a score file (docs/scores.md).
#pragma once

#include <string>

#include "fare/core/json.h"
#include "fare/scoring/request.h"

namespace fare {

// One JSON line, newline included; numbers read back to the same binary64.
std::string score_line(const Request& request, const Score& score);

// A score as a store keeps it and ranks exchange it, and back; numbers keep every bit.
Json score_json(const Score& score);
Score score_from(const Json& json);

}  // namespace fare
