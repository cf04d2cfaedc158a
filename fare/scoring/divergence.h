// How far apart two runs' predictions at the same rows are, over the whole vocabulary, in blocks of rows and tokens:
// no tensor of all rows by all tokens exists, unless the first run's logits are kept. Shapes: N, R rows, D width, V
// vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "fare/models/model.h"

namespace fare {

// Rows of a run that others are compared with.
struct ReferenceRows {
  at::Tensor h_ND;       // after the last layer
  at::Tensor logits_NV;  // working type; undefined: computed again at every comparison
};
// `rows` of h_TD; their logits are kept where they take at most `most_bytes`.
ReferenceRows reference_rows(const Model& model, const at::Tensor& h_TD, std::span<const int32_t> rows,
                             int64_t most_bytes);

struct Divergence {
  double kl_nats = 0;         // KL(p || q) of the row's two predictions, at least 0 but for rounding
  double logprob_change = 0;  // log p(token) - log q(token), nats; 0 without a token
};
// p: reference row which[r]; q: row rows[r] of h_TD; tokens: one for each, or none. Exponentials in float32, sums in
// binary64. Throws NumericError when a logit is NaN or infinite.
std::vector<Divergence> divergences(const Model& model, const ReferenceRows& reference, std::span<const int64_t> which,
                                    const at::Tensor& h_TD, std::span<const int32_t> rows,
                                    std::span<const int32_t> tokens = {});

// Mean of KL(p || q) over rows, nats; 0 without rows. p: rows of p_TD, q: as many rows of q_TD.
double mean_kl_nats(const Model& model, const at::Tensor& p_TD, std::span<const int32_t> p_rows, const at::Tensor& q_TD,
                    std::span<const int32_t> q_rows);

}  // namespace fare
