// The pre-tokenizers of tokenizer.json: Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, Sequence.
#pragma once

#include <memory>
#include <vector>

#include "fare/tokenizer/aligned_text.h"
#include "fare/tokenizer/json_node.h"

namespace fare {

// A text and the pieces of it that are left: non-empty byte ranges in rising order.
struct PreTokens {
  AlignedText text;
  std::vector<ByteRange> pieces;

  std::string_view piece(const ByteRange& range) const {
    return std::string_view(text.text).substr(range.begin, range.end - range.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Each piece is split (and perhaps respelled) as a text of its own.
  virtual void apply(PreTokens& tokens) const = 0;
  // Whether the outcome depends on where in the caller's text a piece begins, so that sources must be tracked.
  virtual bool needs_sources() const { return false; }
};

// Throws FormatError naming the place of what is unknown or wrong.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node);

// The replacement character and the prefix rule of a Metaspace, which is both a pre-tokenizer and a decoder.
struct MetaspaceOptions {
  enum class Prepend { kFirst, kNever, kAlways };
  std::string replacement;  // one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};
MetaspaceOptions read_metaspace(const JsonNode& node);

}  // namespace fare
