#include "fare/scoring/score_file.h"

#include "fare/core/json.h"

namespace fare {

std::string score_line(const Request& request, const Score& score) {
  OrderedJson line;
  line["id"] = request.id;
  line["logprob_nats"] = score.logprob_nats;
  line["num_tokens"] = request.continuation.size();
  line["token_ids"] = request.continuation;
  line["token_logprobs_nats"] = score.token_logprobs_nats;
  line["is_greedy"] = score.is_greedy;
  line["context_tokens"] = score.context_tokens;
  line["truncated_tokens"] = score.truncated_tokens;
  line["boundary_merge"] = request.boundary_merge;
  return line.dump() + "\n";
}

}  // namespace fare
