#include "fare/scoring/score_file.h"

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

Json score_json(const Score& score) {
  return {{"logprob_nats", score.logprob_nats},
          {"is_greedy", score.is_greedy},
          {"token_logprobs_nats", score.token_logprobs_nats},
          {"context_tokens", score.context_tokens},
          {"truncated_tokens", score.truncated_tokens}};
}

Score score_from(const Json& json) {
  Score score;
  score.logprob_nats = json.at("logprob_nats").get<double>();
  score.is_greedy = json.at("is_greedy").get<bool>();
  score.token_logprobs_nats = json.at("token_logprobs_nats").get<std::vector<double>>();
  score.context_tokens = json.at("context_tokens").get<int64_t>();
  score.truncated_tokens = json.at("truncated_tokens").get<int64_t>();
  return score;
}

}  // namespace fare
