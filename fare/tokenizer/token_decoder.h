// The decoders of tokenizer.json: ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fare/tokenizer/json_node.h"

namespace fare {

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // Rewrites the list; the text is what is left, joined.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

// Throws FormatError naming the place of what is unknown or wrong.
std::unique_ptr<TokenDecoder> make_token_decoder(const JsonNode& node);

}  // namespace fare
