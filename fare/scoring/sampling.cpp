#include "fare/scoring/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "fare/core/error.h"
#include "fare/models/row_kernels.h"

namespace fare {
namespace {

int32_t largest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// log of the sum of exp((logit - peak) / temperature).
double log_sum(std::span<const float> logits, double peak, double temperature) {
  if (temperature == 1)
    return std::log(kernels::sum_exp(logits.data(), static_cast<float>(peak), static_cast<int64_t>(logits.size())));
  double sum = 0;
  for (const float logit : logits) sum += std::exp((static_cast<double>(logit) - peak) / temperature);
  return std::log(sum);
}

// Ids that top_p leaves, in no particular order.
std::vector<int32_t> nucleus(const std::vector<double>& log_p, double top_p) {
  std::vector<int32_t> ids;
  // An id below this share cannot belong: all ids as improbable as it hold at most 1 - top_p together.
  const double floor = top_p < 1 ? std::log((1 - top_p) / static_cast<double>(log_p.size())) - 1e-9
                                 : -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < log_p.size(); ++i)
    if (log_p[i] >= floor) ids.push_back(static_cast<int32_t>(i));
  if (top_p >= 1) return ids;
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const double one = log_p[static_cast<size_t>(a)], other = log_p[static_cast<size_t>(b)];
    return one > other || (one == other && a < b);
  });
  double before = 0;
  size_t kept = 0;
  while (kept < ids.size() && (kept == 0 || before < top_p))
    before += std::exp(log_p[static_cast<size_t>(ids[kept++])]);
  ids.resize(kept);
  return ids;
}

}  // namespace

ChosenToken choose_token(std::span<const float> logits, const Sampling& sampling, const RandomStream& noise) {
  const int32_t best = largest(logits);
  const double peak = logits[static_cast<size_t>(best)];
  const double total = log_sum(logits, peak, 1);
  if (!(total >= 0)) throw NumericError("the output head gave a NaN; the hidden state is out of range");
  ChosenToken chosen{best, 0};
  if (sampling.temperature > 0) {
    const double sampled_total = sampling.temperature == 1 ? total : log_sum(logits, peak, sampling.temperature);
    std::vector<double> log_p(logits.size());
    for (size_t i = 0; i < logits.size(); ++i)
      log_p[i] = (static_cast<double>(logits[i]) - peak) / sampling.temperature - sampled_total;
    double highest = -std::numeric_limits<double>::infinity();
    for (const int32_t id : nucleus(log_p, sampling.top_p)) {
      const double u = noise.uniform(static_cast<uint64_t>(id));
      const double value = log_p[static_cast<size_t>(id)] - std::log(-std::log(u));
      if (value > highest || (value == highest && id < chosen.token)) {
        highest = value;
        chosen.token = id;
      }
    }
  }
  chosen.logprob_nats = static_cast<double>(logits[static_cast<size_t>(chosen.token)]) - peak - total;
  return chosen;
}

}  // namespace fare
