// The normalizers of tokenizer.json: NFC, Prepend, Replace, Sequence.
#pragma once

#include <memory>

#include "fare/tokenizer/aligned_text.h"
#include "fare/tokenizer/json_node.h"

namespace fare {

class TextNormalizer {
 public:
  virtual ~TextNormalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

// Throws FormatError naming the place of what is unknown or wrong.
std::unique_ptr<TextNormalizer> make_normalizer(const JsonNode& node);

}  // namespace fare
