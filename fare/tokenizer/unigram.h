// Unigram language model (Kudo 2018): the segmentation with the largest sum of scores.
#pragma once

#include "fare/tokenizer/token_model.h"

namespace fare {

// Characters that no piece covers cost 10 more than the worst piece; neighbours of that kind become one unknown token,
// or byte tokens with byte_fallback.
std::unique_ptr<TokenModel> make_unigram(const JsonNode& node);

}  // namespace fare
