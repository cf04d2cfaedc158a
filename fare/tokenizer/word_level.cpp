#include "fare/tokenizer/word_level.h"

namespace fare {
namespace {

class WordLevel : public TokenModel {
 public:
  explicit WordLevel(const JsonNode& node) : vocabulary_(read_vocabulary(node.at("vocab"))) {
    const JsonNode unk = node.at("unk_token");
    const auto id = vocabulary_.find(unk.text());
    if (!id) unk.fail("'" + unk.text() + "' is not in the vocabulary");
    unk_id_ = *id;
    node.note_other_fields({"type", "vocab", "unk_token"});
  }

  void tokenize(std::string_view piece, std::vector<PieceToken>& out) const override {
    out.push_back({vocabulary_.find(piece).value_or(unk_id_), 0, static_cast<uint32_t>(piece.size())});
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> unk_id() const override { return unk_id_; }

 private:
  Vocabulary vocabulary_;
  int32_t unk_id_ = 0;
};

}  // namespace

std::unique_ptr<TokenModel> make_word_level(const JsonNode& node) { return std::make_unique<WordLevel>(node); }

}  // namespace fare
