// From request lines to token requests: splitting context and continuation, prefix token, spans.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/models/model.h"
#include "fare/scoring/request.h"
#include "fare/scoring/request_file.h"

namespace fare {

// Ids are taken as they are; text needs the tokenizer of the model's folder, which is opened only then. An empty
// context becomes the prefix token: `prefix_token`, else (text only) the tokenizer's BOS, else its EOS. Throws
// FormatError naming `file` and the line: a token outside the vocabulary, a continuation longer than `max_length`, an
// empty context without a prefix token, a continuation that gives no token. ModelMismatch: `prefix_token` outside the
// vocabulary.
std::vector<Request> encode_requests(const std::vector<RequestLine>& lines, const std::string& file, const Model& model,
                                     int64_t max_length, std::optional<int32_t> prefix_token);

}  // namespace fare
