// What a benchmark asks of a scorer, and what comes back. The seam between this floor (which knows no model) and
// scoring.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/core/json.h"

namespace fare {

enum class RequestKind {
  kLoglikelihood,  // of `continuation` after `context`; an empty context means: after the prefix token alone
  kWithoutStart,   // of `continuation` with nothing before it: its first token is given, the others are scored
  kRolling,        // of all tokens of `continuation`, in disjoint windows; the first follows the prefix token
  kGenerate,       // a text that goes on after `context`
};

// All texts are UTF-8. The scorer splits and tokenizes (context_split.h has the textual first step).
struct TextRequest {
  std::string context;
  std::string continuation;
  RequestKind kind = RequestKind::kLoglikelihood;
  bool extra = false;      // asked for FARE's own metrics only: not part of the item as other tools have it
  OrderedJson generation;  // kGenerate: settings under the harness's names, see generation.h
};

// The scorer's answer to one request.
struct RequestResult {
  double logprob_nats = 0;         // Sum over the continuation's tokens; natural logarithm, never normalised by length.
  bool is_greedy = false;          // Every continuation token was the arg-max.
  std::vector<int32_t> token_ids;  // The continuation's scored tokens; may be empty when not kept.
  std::vector<double> token_logprobs_nats;  // One per entry of token_ids.
  int64_t truncated_tokens = 0;             // Tokens cut from the left to fit the context length.
  bool boundary_merge = false;              // A merge crossed the border of context and continuation.
  std::string text;                         // kGenerate: what was written; the other numbers are then 0.
  bool cut_off = false;                     // kGenerate: the text reached the allowed number of tokens.
};

}  // namespace fare
