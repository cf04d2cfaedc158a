#include "fare/scoring/encode.h"

#include <algorithm>
#include <memory>

#include "fare/core/error.h"
#include "fare/scoring/text_encoder.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

std::vector<Request> encode_requests(const std::vector<RequestLine>& lines, const std::string& file, const Model& model,
                                     int64_t max_length, std::optional<int32_t> prefix_token) {
  if (prefix_token && (*prefix_token < 0 || *prefix_token >= model.spec().vocab_size))
    throw ModelMismatch("--prefix-token " + std::to_string(*prefix_token) + " lies outside the vocabulary of " +
                        std::to_string(model.spec().vocab_size));
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<TextEncoder> encoder;
  if (std::any_of(lines.begin(), lines.end(), [](const RequestLine& line) { return !line.has_ids; })) {
    tokenizer = Tokenizer::open(model.checkpoint().folder());
    encoder.emplace(*tokenizer, prefix_token);
  }
  std::vector<Request> requests;
  requests.reserve(lines.size());
  for (const RequestLine& line : lines) {
    const std::string where = "line " + std::to_string(line.line);
    Request request;
    try {
      if (line.has_ids) {
        request.id = line.id;
        request.context = line.context_ids;
        request.continuation = line.continuation_ids;
        request.spans = line.spans;
        if (request.context.empty() && prefix_token) request.context = {*prefix_token};
      } else {
        request = encoder->encode(line.id, line.context, line.continuation, line.spans);
      }
      fed_part(request, max_length, model.spec().vocab_size);
    } catch (const UsageError& error) {
      throw FormatError(file, where, error.what());
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace fare
