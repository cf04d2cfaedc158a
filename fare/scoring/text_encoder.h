// Text requests to token requests, as the field's harness splits them (docs/requests.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fare/scoring/request.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

// Byte ranges [begin, end) of a continuation, by name.
using ByteSpans = std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>;

class TextEncoder {
 public:
  // `prefix_token` stands for an empty context; without it the tokenizer's BOS, else its EOS. `tokenizer` must outlive
  // this object.
  explicit TextEncoder(const Tokenizer& tokenizer, std::optional<int32_t> prefix_token = {});

  // White space at the end of the context moves to the continuation; context and whole text are encoded with the
  // tokenizer's own special tokens (none are added to a text that starts with the BOS text); the continuation's tokens
  // are those of the whole after as many as the context has. boundary_merge is set when the context's tokens are not
  // the beginning of the whole's. An empty context is the prefix token, and a continuation whose first token is that
  // very token gives it away. A token belongs to a span when it overlaps it by a byte. Throws UsageError: no prefix
  // token to be had; a continuation that gives no token; text that is not UTF-8.
  Request encode(const std::string& id, std::string_view context, std::string_view continuation,
                 const ByteSpans& spans = {}) const;

  // Tokens of a text to be continued: the tokenizer's own special tokens (none are added to a text that starts with the
  // BOS text), nothing moved or stripped; the prefix token where that gives no token at all. Throws UsageError as
  // above.
  std::vector<int32_t> prompt(const std::string& id, std::string_view text) const;

  // A text whose every token is scored: the prefix token (or the tokenizer's own first token), then the text.
  Request whole_text(const std::string& id, std::string_view text) const { return encode(id, "", text); }

 private:
  bool adds_special_tokens(std::string_view text) const;

  const Tokenizer& tokenizer_;
  std::optional<int32_t> prefix_token_;
};

}  // namespace fare
