// Words of a chat template -> syntax tree.
#pragma once

#include <string_view>

#include "fare/tokenizer/chat/lexer.h"
#include "fare/tokenizer/chat/syntax.h"

namespace fare::chat {

// Throws SyntaxError: broken syntax, or a statement, filter, test or function of Jinja that is not supported, by its
// name.
Block parse_template(std::string_view source);

}  // namespace fare::chat
