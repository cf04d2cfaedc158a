// Log-likelihood requests in tokens, and what comes back.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fare {

// Named ranges [begin, end) of continuation tokens.
using TokenSpans = std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>;

struct Request {
  std::string id;
  std::vector<int32_t> context;       // at least one token
  std::vector<int32_t> continuation;  // at least one token
  TokenSpans spans;
  bool boundary_merge = false;  // a token crossed the border between context and continuation
};

struct Score {
  double logprob_nats = 0;                  // sum over the continuation
  bool is_greedy = false;                   // every continuation token is the arg-max (ties: the lower id)
  std::vector<double> token_logprobs_nats;  // one per continuation token
  int64_t context_tokens = 0;               // after truncation
  int64_t truncated_tokens = 0;             // cut from the left
};

// The part of a request the model is fed: the last max_length + 1 tokens of context and continuation, without the last.
struct FedRequest {
  std::vector<int32_t> ids;  // fed tokens
  int64_t truncated = 0;     // tokens cut from the left
  int64_t num_context = 0;   // leading fed rows that hold context tokens
};

// Throws UsageError naming the request when it is empty, when a token lies outside the vocabulary, or when the
// continuation is longer than `max_length`.
FedRequest fed_part(const Request& request, int64_t max_length, int64_t vocab_size);

}  // namespace fare
