// The models of tokenizer.json: BPE, WordLevel, Unigram (those of SentencePiece: sentencepiece_model.h). A model turns
// one piece into tokens of its vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fare/tokenizer/json_node.h"
#include "fare/tokenizer/vocabulary.h"

namespace fare {

// A token and the bytes of the piece it stands for. `end` may lie behind the piece where a model spells a character
// with more tokens than it has bytes.
struct PieceToken {
  int32_t id = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the tokens of `piece` (not empty, valid UTF-8, below 2^31 bytes). Thread-safe.
  // Throws FormatError where the text cannot be spelled at all (Unigram without unk_id).
  virtual void tokenize(std::string_view piece, std::vector<PieceToken>& out) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
  virtual std::optional<int32_t> unk_id() const = 0;
  // Control and unknown tokens of a model that marks them itself (SentencePiece).
  virtual bool is_special(int32_t /*id*/) const { return false; }
};

// `node` is the "model" object, `added` the content of the added tokens (an unk_token may be one of them).
// Throws FormatError naming the place of what is unknown or wrong.
std::unique_ptr<TokenModel> make_token_model(const JsonNode& node, const Vocabulary& added);

// The object {token: id}: ids whole and not negative, none used twice.
Vocabulary read_vocabulary(const JsonNode& node);

}  // namespace fare
