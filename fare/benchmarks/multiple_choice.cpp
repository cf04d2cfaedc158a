#include "fare/benchmarks/multiple_choice.h"

#include <algorithm>
#include <cmath>

#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {

size_t arg_max(std::span<const double> values) {
  FARE_CHECK(!values.empty(), "arg-max of nothing");
  size_t best = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) return i;
    if (values[i] > values[best]) best = i;
  }
  return best;
}

std::vector<double> softmax(std::span<const double> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  std::vector<double> shares;
  double sum = 0;
  for (const double value : values) {
    shares.push_back(std::exp(value - largest));
    sum += shares.back();
  }
  for (double& share : shares) share /= sum;
  return shares;
}

ChoiceMetrics choice_metrics(const ChoiceScores& scores, std::span<const int64_t> gold) {
  const auto& ll = scores.loglikelihoods;
  const size_t num_choices = ll.size();
  FARE_CHECK(num_choices > 0 && scores.choices.size() == num_choices, "one log-likelihood per choice");
  FARE_CHECK(scores.unconditional.empty() || scores.unconditional.size() == num_choices,
             "one unconditional ll per choice");
  FARE_CHECK(scores.is_greedy.empty() || scores.is_greedy.size() == num_choices, "one greedy flag per choice");

  ChoiceMetrics metrics;
  std::vector<double> per_character, per_byte;
  for (size_t k = 0; k < num_choices; ++k) {
    per_character.push_back(ll[k] / static_cast<double>(count_code_points(scores.choices[k])));
    per_byte.push_back(ll[k] / static_cast<double>(scores.choices[k].size()));
  }
  metrics.pred = arg_max(ll);
  metrics.pred_norm = arg_max(per_character);
  metrics.pred_bytes = arg_max(per_byte);
  metrics.softmax = softmax(ll);

  std::vector<bool> is_gold(num_choices, false);
  for (const int64_t index : gold) {
    if (index >= 0 && static_cast<size_t>(index) < num_choices) is_gold[static_cast<size_t>(index)] = true;
    else metrics.gold_out_of_range = true;
  }
  metrics.acc = is_gold[metrics.pred] ? 1 : 0;
  metrics.acc_norm = is_gold[metrics.pred_norm] ? 1 : 0;
  metrics.acc_bytes = is_gold[metrics.pred_bytes] ? 1 : 0;

  if (!scores.unconditional.empty()) {
    std::vector<double> gain;
    for (size_t k = 0; k < num_choices; ++k) gain.push_back(ll[k] - scores.unconditional[k]);
    metrics.pred_mutual_info = arg_max(gain);
    metrics.acc_mutual_info = is_gold[*metrics.pred_mutual_info] ? 1 : 0;
  }
  if (!scores.is_greedy.empty()) {
    metrics.exact_match = 0;
    for (size_t k = 0; k < num_choices; ++k)
      if (is_gold[k] && scores.is_greedy[k]) metrics.exact_match = 1;
  }
  if (gold.size() == 1 && !metrics.gold_out_of_range) {
    double sum = 0;
    for (size_t k = 0; k < num_choices; ++k) {
      const double miss = metrics.softmax[k] - (is_gold[k] ? 1 : 0);
      sum += miss * miss;
    }
    metrics.brier = sum;
  }
  int64_t num_tied_gold = 0;
  metrics.num_ties = 0;
  for (size_t k = 0; k < num_choices; ++k) {
    if (ll[k] != ll[metrics.pred]) continue;
    ++metrics.num_ties;
    if (is_gold[k]) ++num_tied_gold;
  }
  if (metrics.num_ties > 0)
    metrics.acc_fair_ties = static_cast<double>(num_tied_gold) / static_cast<double>(metrics.num_ties);
  return metrics;
}

}  // namespace fare
