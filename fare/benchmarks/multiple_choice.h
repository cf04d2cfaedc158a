// Metrics of items with several candidate answers, each scored by its log-likelihood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fare {

// K choices. All spans have K entries.
struct ChoiceScores {
  std::vector<double> loglikelihoods;  // nats, per choice given the context
  std::vector<std::string> choices;    // texts without delimiter
  std::vector<double> unconditional;   // per choice given ""; empty = not asked for
  std::vector<bool> is_greedy;         // empty = not asked for
};

struct ChoiceMetrics {
  size_t pred = 0;                              // arg-max of ll
  size_t pred_norm = 0;                         // arg-max of ll / code points
  size_t pred_bytes = 0;                        // arg-max of ll / UTF-8 bytes
  std::optional<size_t> pred_mutual_info;       // arg-max of ll minus unconditional ll
  double acc = 0, acc_norm = 0, acc_bytes = 0;  // 1 if the prediction is among the gold indices
  std::optional<double> acc_mutual_info;
  std::optional<double> exact_match;  // greedy flag of the gold choice (any of them, if several)
  std::vector<double> softmax;        // over the choices
  std::optional<double> brier;        // sum over choices of (softmax - [gold])^2; one valid gold index only
  int64_t num_ties = 1;               // choices whose ll equals the largest
  double acc_fair_ties = 0;           // share of the tied best choices that are gold
  bool gold_out_of_range = false;     // a gold index beyond the choices: never correct, to be reported
};

// Ties go to the lowest index, except in acc_fair_ties. A choice of no characters has a normalised ll of -inf (of NaN
// where ll is 0, which like numpy's arg-max wins). Source: the harness's multiple-choice task.
// Throws BrokenInvariant when there are no choices or the lists differ in length.
ChoiceMetrics choice_metrics(const ChoiceScores& scores, std::span<const int64_t> gold);

// Index of the largest value, the first on ties; a NaN counts as largest, as in numpy.
size_t arg_max(std::span<const double> values);

// exp(values) / sum, computed after subtracting the largest.
std::vector<double> softmax(std::span<const double> values);

}  // namespace fare
