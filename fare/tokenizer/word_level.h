// WordLevel: the whole piece is one token, or the unknown one.
#pragma once

#include "fare/tokenizer/token_model.h"

namespace fare {

std::unique_ptr<TokenModel> make_word_level(const JsonNode& node);

}  // namespace fare
