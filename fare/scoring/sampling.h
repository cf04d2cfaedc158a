// Choosing the next token of a generated text: the most probable one, or a draw that two runs can share.
#pragma once

#include <cstdint>
#include <span>

#include "fare/core/philox.h"

namespace fare {

struct Sampling {
  double temperature = 0;  // 0 = greedy
  double top_p = 1;        // in (0, 1]; 1 = no truncation
};

struct ChosenToken {
  int32_t token = 0;
  double logprob_nats = 0;  // of the model itself: before temperature and truncation
};

// Greedy: the largest logit, ties to the lower id; `noise` is not read.
// Sampled: with p = softmax(logits / temperature) and S the most probable ids (ties: the lower id first) whose
// predecessors hold less than top_p together, the arg-max over S of log p(id) - log(-log u(id)), u(id) = draw number id
// of `noise`. The choice has the distribution p restricted to S; two models that are asked with the same stream share
// their noise id by id, whatever order their probabilities stand in.
// Sums in binary64, exponentials at temperature 1 in float32. Throws NumericError when a logit is NaN or none is
// finite.
ChosenToken choose_token(std::span<const float> logits, const Sampling& sampling, const RandomStream& noise);

}  // namespace fare
