#include "fare/scoring/text_encoder.h"

#include <algorithm>

#include "fare/benchmarks/context_split.h"
#include "fare/core/error.h"

namespace fare {
namespace {

// Ranges of continuation tokens that overlap each byte range. `first_byte` is where the continuation as given begins in
// the encoded text; tokens from `first_token` on are the continuation's.
TokenSpans token_spans(const ByteSpans& spans, const Encoding& encoding, size_t first_token, size_t first_byte) {
  TokenSpans result;
  for (const auto& [name, ranges] : spans) {
    auto& list = result[name];
    for (const auto& [begin, end] : ranges) {
      for (size_t i = first_token; i < encoding.offsets.size(); ++i) {
        const int64_t from = static_cast<int64_t>(encoding.offsets[i].first) - static_cast<int64_t>(first_byte);
        const int64_t to = static_cast<int64_t>(encoding.offsets[i].second) - static_cast<int64_t>(first_byte);
        if (from >= end || to <= begin || from == to) continue;
        const int64_t token = static_cast<int64_t>(i - first_token);
        if (!list.empty() && list.back().second == token) ++list.back().second;
        else list.emplace_back(token, token + 1);
      }
    }
  }
  return result;
}

}  // namespace

TextEncoder::TextEncoder(const Tokenizer& tokenizer, std::optional<int32_t> prefix_token)
    : tokenizer_(tokenizer), prefix_token_(prefix_token) {
  if (!prefix_token_) prefix_token_ = tokenizer.bos_id();
  if (!prefix_token_) prefix_token_ = tokenizer.eos_id();
}

bool TextEncoder::adds_special_tokens(std::string_view text) const {
  const auto bos = tokenizer_.bos_text();
  return !bos || bos->empty() || !text.starts_with(*bos);
}

std::vector<int32_t> TextEncoder::prompt(const std::string& id, std::string_view text) const {
  std::vector<int32_t> ids = tokenizer_.ids(text, adds_special_tokens(text));
  if (!ids.empty()) return ids;
  if (!prefix_token_)
    throw UsageError("prompt '" + id +
                     "' is empty and the tokenizer has neither a BOS nor an EOS token; give one with "
                     "--prefix-token ID");
  return {*prefix_token_};
}

Request TextEncoder::encode(const std::string& id, std::string_view context, std::string_view continuation,
                            const ByteSpans& spans) const {
  Request request;
  request.id = id;
  const TextRequest split = split_context(context, continuation);
  if (split.context.empty()) {
    if (!prefix_token_)
      throw UsageError("request '" + id +
                       "': the context is empty and the tokenizer has neither a BOS nor an EOS token; "
                       "give one with --prefix-token ID");
    Encoding encoding = tokenizer_.encode(split.continuation, false);
    size_t first = 0;
    if (!encoding.ids.empty() && encoding.ids.front() == *prefix_token_) first = 1;
    request.context = {*prefix_token_};
    request.continuation.assign(encoding.ids.begin() + static_cast<int64_t>(first), encoding.ids.end());
    request.spans = token_spans(spans, encoding, first, context.size());
  } else {
    const std::string whole = split.context + split.continuation;
    const bool special = adds_special_tokens(whole);
    const Encoding encoding = tokenizer_.encode(whole, special);
    request.context = tokenizer_.ids(split.context, special);
    const size_t cut = std::min(request.context.size(), encoding.ids.size());
    request.boundary_merge = !std::equal(request.context.begin(), request.context.begin() + static_cast<int64_t>(cut),
                                         encoding.ids.begin()) ||
                             cut < request.context.size();
    request.continuation.assign(encoding.ids.begin() + static_cast<int64_t>(cut), encoding.ids.end());
    request.spans = token_spans(spans, encoding, cut, context.size());
  }
  if (request.continuation.empty())
    throw UsageError("request '" + id + "': the continuation gives no token of its own after its context");
  return request;
}

}  // namespace fare
