// What a benchmark asks of a scorer, and what comes back. The seam between this floor (which knows no model) and scoring.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fare {

// Log-likelihood of `continuation` after `context`, both UTF-8. An empty context means: after the prefix token alone.
// The scorer splits and tokenizes (context_split.h has the textual first step).
struct TextRequest {
  std::string context;
  std::string continuation;
};

// The scorer's answer to one request.
struct RequestResult {
  double logprob_nats = 0;     // Sum over the continuation's tokens; natural logarithm, never normalised by length.
  bool is_greedy = false;      // Every continuation token was the arg-max.
  std::vector<int32_t> token_ids;             // The continuation's scored tokens; may be empty when not kept.
  std::vector<double> token_logprobs_nats;    // One per entry of token_ids.
  int64_t truncated_tokens = 0;               // Tokens cut from the left to fit the context length.
  bool boundary_merge = false;                // A merge crossed the border of context and continuation.
};

}  // namespace fare
