// From log-probabilities to the outcome of one item.
#pragma once

#include <span>

#include "fare/diagnosis/outcome_source.h"

namespace fare {

// Log-probabilities, in nats, of the continuation's tokens of both texts.
Margins margins_of(const EncodedPair& pair, std::span<const double> stereo, std::span<const double> anti);

// `logprobs`: of each choice, in nats.
UtilityOutcome utility_outcome(const UtilityItem& item, std::span<const double> logprobs);

}  // namespace fare
