// The lines of a file of generated texts (docs/generate.md).
#pragma once

#include <string>

#include "fare/scoring/generate.h"

namespace fare {

// One JSON line, newline included; numbers read back to the same binary64. `text` is null when `has_text` is false (a
// checkpoint without a tokenizer).
std::string generated_line(const std::string& prompt_id, const GeneratedText& text, bool has_text);

}  // namespace fare
