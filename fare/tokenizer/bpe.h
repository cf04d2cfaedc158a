// Byte-pair encoding (Sennrich, Haddow, Birch 2016) with the options of tokenizer.json; model-families 8.2.
#pragma once

#include "fare/tokenizer/token_model.h"

namespace fare {

// Refuses, besides broken values: a merge whose parts or result are not in the vocabulary, dropout (which would make
// ids random), an unk_token that is neither in the vocabulary nor an added token.
std::unique_ptr<TokenModel> make_bpe(const JsonNode& node, const Vocabulary& added);

}  // namespace fare
