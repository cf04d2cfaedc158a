#include "fare/tokenizer/added_tokens.h"

#include <algorithm>
#include <limits>

#include "fare/core/error.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

// The character that ends at byte `end` (> 0).
char32_t character_before(std::string_view text, size_t end, size_t* begin = nullptr) {
  size_t i = end - 1;
  while (i > 0 && is_continuation_byte(text[i])) --i;
  if (begin != nullptr) *begin = i;
  return next_code_point(text, i);
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word_character(character_before(text, begin))) return false;
  if (end == text.size()) return true;
  size_t i = end;
  return !is_word_character(next_code_point(text, i));
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const JsonNode& node) {
  std::vector<AddedToken> tokens;
  for (const auto& item : node.items()) {
    AddedToken token;
    token.id = static_cast<int32_t>(item.at("id").integer(0, std::numeric_limits<int32_t>::max() - 1));
    token.content = item.text("content");
    token.single_word = item.boolean_or("single_word", false);
    token.lstrip = item.boolean_or("lstrip", false);
    token.rstrip = item.boolean_or("rstrip", false);
    token.special = item.boolean_or("special", false);
    token.normalized = item.boolean_or("normalized", !token.special);
    item.note_other_fields({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const TextNormalizer* normalizer, const std::string& path)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    index_of_id_.emplace(token.id, i);
    index_of_content_.emplace(token.content, i);
    std::string spelled = token.content;
    if (token.normalized && normalizer != nullptr) {
      AlignedText text = AlignedText::part(token.content, 0, false);
      normalizer->apply(text);
      spelled = text.text;
    }
    ByteTrie& trie = token.normalized ? normalized_ : raw_;
    if (!trie.add(spelled, static_cast<int32_t>(i)))
      throw FormatError(path, "added_tokens",
                        spelled.empty() ? "nothing is left of '" + token.content + "' when it is normalised"
                                        : "two tokens read '" + spelled + "' in the text");
    decoded_.push_back(std::move(spelled));
  }
}

const AddedToken* AddedTokens::of_id(int32_t id) const {
  const auto found = index_of_id_.find(id);
  return found == index_of_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::of_content(std::string_view content) const {
  const auto found = index_of_content_.find(std::string(content));
  return found == index_of_content_.end() ? nullptr : &tokens_[found->second];
}

void AddedTokens::cut(const ByteTrie& trie, std::string_view text, std::vector<AddedTokenPart>& out) const {
  out.clear();
  size_t covered = 0;  // everything before is in `out`
  if (!trie.empty()) {
    for (size_t i = 0; i < text.size();) {
      size_t length = 0;
      int32_t index = 0;
      if (trie.may_start_with(text[i]))
        trie.for_each_prefix(text.substr(i), [&](size_t found, int32_t value) { length = found, index = value; });
      if (length == 0) {
        ++i;
        continue;
      }
      const AddedToken& token = tokens_[static_cast<size_t>(index)];
      size_t begin = i;
      size_t end = i + length;
      i = end;
      if (token.single_word && !stands_alone(text, begin, end)) continue;
      if (token.lstrip) {
        for (size_t before = begin; before > covered && is_white_space(character_before(text, begin, &before));)
          begin = before;
        begin = std::min(std::max(begin, covered), end);
      }
      if (token.rstrip) {
        for (size_t after = end; after < text.size() && is_white_space(next_code_point(text, after));) end = after;
      }
      if (covered < begin) out.push_back({nullptr, covered, begin});
      out.push_back({&token, begin, end});
      covered = end;
    }
  }
  if (covered < text.size()) out.push_back({nullptr, covered, text.size()});
}

}  // namespace fare
