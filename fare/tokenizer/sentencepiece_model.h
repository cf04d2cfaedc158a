// The models of a SentencePiece file, BPE and unigram: a normalised text to pieces; and pieces back to text.
#pragma once

#include <memory>

#include "fare/tokenizer/sentencepiece_file.h"
#include "fare/tokenizer/token_decoder.h"
#include "fare/tokenizer/token_model.h"

namespace fare {

// User-defined pieces are kept whole; control and unused pieces never come out. A character without a piece becomes its
// byte pieces (byte_fallback), else unknown, neighbours of that kind as one token.
std::unique_ptr<TokenModel> make_sentencepiece_model(const SentencePieceFile& file);

// Byte pieces become characters (each byte that is part of none U+FFFD), marks spaces, and the space that the
// normaliser put in front of the text goes.
std::unique_ptr<TokenDecoder> make_sentencepiece_decoder(const SentencePieceFile& file);

}  // namespace fare
