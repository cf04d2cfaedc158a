// Runs a parsed chat template.
#pragma once

#include <ctime>
#include <string>

#include "fare/tokenizer/chat/lexer.h"
#include "fare/tokenizer/chat/syntax.h"

namespace fare::chat {

// Throws SyntaxError with the line of the statement or expression that failed.
std::string render(const Block& block, const Dict& variables, std::time_t now);

}  // namespace fare::chat
