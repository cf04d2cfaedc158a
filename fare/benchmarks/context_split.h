// The textual half of splitting a prompt: white space at the end of the context belongs to the continuation.
#pragma once

#include <string>
#include <string_view>

#include "fare/benchmarks/request.h"

namespace fare {

// Moves the white space at the end of `context` (as Python strips it) to the front of `continuation`. An empty context
// stays empty; a context of white space only becomes empty. The token-level cut is the scorer's.
TextRequest split_context(std::string_view context, std::string_view continuation);

}  // namespace fare
