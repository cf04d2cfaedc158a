// Does the router react to the demographic change more than to a neutral one (methods A1)?
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/adjusted.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/routing_distance.h"
#include "fare/diagnosis/verdict.h"

namespace fare {

// One layer x axis x span x null. Divergences are Jensen-Shannon, base 2, in bit.
struct SensitivityRow {
  int64_t layer = 0;
  std::string axis;  // "all" or a name
  std::string span;  // "P": shared tokens after the change; "D": the tokens that differ
  std::string null;  // N1 neutral words, N2 words of the same group, N3 paraphrase
  int64_t n = 0;
  double n_eff = 0;
  double js_demo = 0, js_null = 0, difference = 0;
  stats::Interval difference95;
  std::optional<double> d_z;  // none: no variance
  std::optional<stats::Interval> d_z95;
  std::optional<double> ratio;  // js_demo / js_null; none: 0/0 or x/0
  std::optional<stats::Interval> ratio95;
  std::optional<double> cliffs_delta;
  double p = 1, p_bh = 1;
  int64_t family_size = 0;
  std::optional<double> mde;  // in units of d_z
  bool sensitive = false;
  std::string reason;  // why something above is undefined
};

// Means over the pairs of train of one kind, before any comparison.
struct StatisticsRow {
  int64_t layer = 0;
  std::string axis, span;  // span Q, too: tokens before the change
  std::string kind;        // demographic, N1, N2, N3
  int64_t n = 0;           // demographic pairs (those that have such a null)
  RoutingStatistics mean{};
};

// Stereotype side minus the other, mean over demographic pairs of the mean over the span's tokens.
struct ExpertGap {
  int64_t layer = 0;
  int32_t expert = 0;
  std::string span;
  double score = 0;      // of the softmax over all experts
  double selection = 0;  // of 1[chosen]
};

struct Sensitivity {
  std::vector<SensitivityRow> rows;
  std::vector<StatisticsRow> statistics;
  std::vector<ExpertGap> expert_gaps;
  std::vector<AdjustedEffect> adjusted;   // per layer, span P, demographic pairs and N1 together
  std::vector<int64_t> sensitive_layers;  // span P, null N1, all axes
  double causal_zero_max = 0;  // largest divergence before the first difference of a pair: 0 in a causal model
  std::map<std::string, int64_t> null_pairs, missing;  // per null: null pairs used, demographic pairs without one
  SensitivityAnswer answer;                            // stage 1
};

std::string null_name(PairKind kind);  // "N1", "N2" or "N3"

// On these demographic pairs (indices, ascending) and their nulls; `split` names them in the answer.
Sensitivity measure_sensitivity(Measurer& measurer, const DiagnosisOptions& options, const std::vector<int64_t>& pairs,
                                const std::string& split);
// On the train split.
Sensitivity measure_sensitivity(Measurer& measurer, const DiagnosisOptions& options);

OrderedJson sensitivity_json(const Sensitivity& sensitivity);

}  // namespace fare
