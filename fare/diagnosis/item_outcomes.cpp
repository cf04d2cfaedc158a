#include "fare/diagnosis/item_outcomes.h"

#include <algorithm>

#include "fare/benchmarks/pair_scores.h"

namespace fare {

Margins margins_of(const EncodedPair& pair, std::span<const double> stereo, std::span<const double> anti) {
  const auto result_of = [](const Request& request, std::span<const double> logprobs) {
    RequestResult result;
    result.token_ids = request.continuation;
    result.token_logprobs_nats.assign(logprobs.begin(), logprobs.end());
    for (const double one : logprobs) result.logprob_nats += one;
    return result;
  };
  const PairDelta delta = pair_delta(result_of(pair.stereo, stereo), result_of(pair.anti, anti));
  return {delta.sum, delta.per_token.value_or(delta.sum), delta.shared};
}

UtilityOutcome utility_outcome(const UtilityItem& item, std::span<const double> logprobs) {
  const auto is_right = [&](size_t choice) {
    return std::find(item.gold.begin(), item.gold.end(), static_cast<int64_t>(choice)) != item.gold.end();
  };
  double best_right = -1e300, best_wrong = -1e300;
  for (size_t c = 0; c < logprobs.size(); ++c) {
    double& slot = is_right(c) ? best_right : best_wrong;
    slot = std::max(slot, logprobs[c]);
  }
  const double best = std::max(best_right, best_wrong);
  double ties = 0, right_ties = 0;
  for (size_t c = 0; c < logprobs.size(); ++c) {
    if (logprobs[c] != best) continue;
    ++ties;
    right_ties += is_right(c);
  }
  return {right_ties / ties, best_right - best_wrong};
}

}  // namespace fare
