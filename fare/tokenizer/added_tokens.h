// Added tokens: texts that are cut out before the model sees them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fare/tokenizer/byte_trie.h"
#include "fare/tokenizer/json_node.h"
#include "fare/tokenizer/normalizer.h"
#include "fare/tokenizer/vocabulary.h"

namespace fare {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where its neighbours are no word characters
  bool lstrip = false;       // swallows white space to its left
  bool rstrip = false;       // .. and to its right
  bool normalized = true;    // looked for in the normalised text, in its own normalised spelling
  bool special = false;      // left out when decoding without special tokens
};

// The list "added_tokens". Tokens of empty content are left out. Throws FormatError naming the entry.
std::vector<AddedToken> read_added_tokens(const JsonNode& node);

// A stretch of text: an added token, or what lies between.
struct AddedTokenPart {
  const AddedToken* token = nullptr;  // nullptr: ordinary text
  size_t begin = 0;
  size_t end = 0;
};

class AddedTokens {
 public:
  // `normalizer` may be nullptr. Throws FormatError (place "added_tokens") when two tokens look the same.
  AddedTokens(std::vector<AddedToken> tokens, const TextNormalizer* normalizer, const std::string& path);

  // Cuts raw text at the tokens that are not normalised, or normalised text at those that are; leftmost-longest.
  // `out` is cleared first.
  void cut_raw(std::string_view text, std::vector<AddedTokenPart>& out) const { cut(raw_, text, out); }
  void cut_normalized(std::string_view text, std::vector<AddedTokenPart>& out) const { cut(normalized_, text, out); }

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* of_id(int32_t id) const;  // nullptr when there is none
  const AddedToken* of_content(std::string_view content) const;
  // How the token reads when decoded: its normalised spelling where it has one.
  const std::string& decoded(const AddedToken& token) const {
    return decoded_[static_cast<size_t>(&token - tokens_.data())];
  }

 private:
  void cut(const ByteTrie& trie, std::string_view text, std::vector<AddedTokenPart>& out) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> decoded_;
  std::unordered_map<int32_t, size_t> index_of_id_;
  std::unordered_map<std::string, size_t> index_of_content_;
  ByteTrie raw_;
  ByteTrie normalized_;
};

}  // namespace fare
