// What a SentencePiece model does to a text before it is cut: replacements, spaces, the mark in front.
#pragma once

#include <memory>

#include "fare/tokenizer/normalizer.h"
#include "fare/tokenizer/sentencepiece_file.h"

namespace fare {

// Each text is normalised as one of its own: the dummy prefix comes again after every special token. User-defined
// pieces are left as they stand. What is put in front or behind covers no byte of the text; what is left out of the
// text counts to the character before it. `path` is for errors. Throws FormatError when the compiled replacements are
// damaged.
std::unique_ptr<TextNormalizer> make_sentencepiece_normalizer(const SentencePieceFile& file, const std::string& path);

}  // namespace fare
