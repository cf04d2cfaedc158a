#include "fare/tokenizer/token_model.h"

#include <limits>

#include "fare/tokenizer/bpe.h"
#include "fare/tokenizer/unigram.h"
#include "fare/tokenizer/word_level.h"

namespace fare {
namespace {

// Old files do not say what they hold; the fields do.
std::string model_type(const JsonNode& node) {
  if (const auto type = node.text_if("type")) return *type;
  if (node.find("merges")) return "BPE";
  if (node.at("vocab").json().is_array()) return "Unigram";
  if (node.find("max_input_chars_per_word")) return "WordPiece";
  return "WordLevel";
}

}  // namespace

Vocabulary read_vocabulary(const JsonNode& node) {
  if (!node.json().is_object()) node.fail("expected an object of tokens and ids");
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() - 1;
  Vocabulary vocabulary;
  vocabulary.reserve(node.json().size());
  for (const auto& item : node.json().items()) {
    const std::string& token = item.key();
    const Json& id = item.value();
    // The place is only spelled out for errors: a vocabulary has 100,000 of them.
    const auto entry = [&] { return JsonNode(id, node.file(), node.place() + "[\"" + token + "\"]"); };
    const bool sound = id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(kLargest);
    const auto number = static_cast<int32_t>(sound ? id.get<int64_t>() : entry().integer(0, kLargest));
    if (!vocabulary.add(token, number))
      entry().fail("id " + std::to_string(number) + " is that of '" + *vocabulary.token(number) + "' already");
  }
  if (vocabulary.size() == 0) node.fail("the vocabulary is empty");
  return vocabulary;
}

std::unique_ptr<TokenModel> make_token_model(const JsonNode& node, const Vocabulary& added) {
  const std::string type = model_type(node);
  if (type == "BPE") return make_bpe(node, added);
  if (type == "WordLevel") return make_word_level(node);
  if (type == "Unigram") return make_unigram(node);
  fail_unknown_component(node, "model", type, {"BPE", "WordLevel", "Unigram"});
}

}  // namespace fare
