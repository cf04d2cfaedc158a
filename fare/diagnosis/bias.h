// Preference for the stereotype side: shares, signs, levels and shifts (methods 0.5), with cluster-bootstrap intervals.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/options.h"
#include "fare/stats/outcome.h"

namespace fare {

enum class MarginScoring { kSum, kMean, kShared };
inline constexpr MarginScoring kMarginScorings[] = {MarginScoring::kSum, MarginScoring::kMean, MarginScoring::kShared};
std::string scoring_name(MarginScoring scoring);  // "sum", "mean", "shared"

// 1 when m > 0, 0 when m < 0, 1/2 at an exact tie, which prefers neither. None when the scoring is undefined for this
// pair.
std::optional<double> prefers_stereotype(const Margins& margins, MarginScoring scoring);

// +1 / -1 per axis (index into study.axes): sign of pct - 50 on the given pairs; +1 where it is exactly 50.
std::vector<int> axis_signs(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base);

// The same on all pairs of train and validation, where signs are fixed.
std::vector<int> fitted_signs(OutcomeSource& source);

// Delta_B in percentage points of `edited` against `base` over `pairs` (parallel arrays): sum over axes of share of
// items times sign times (pct_base - pct_edited). With its 95% and 90% intervals, one-sided p (r1), discordance, n_eff
// and MDE.
struct Shift {
  double value_pp = 0;
  stats::Interval interval95, interval90;
  std::string method;                       // "cluster bootstrap" or "exact bounds"
  double p_two_sided = 1, p_one_sided = 1;  // sign-flip over clusters
  double discordance = 0;                   // share of pairs whose preference changed
  int64_t n = 0;
  double n_eff = 0;
  std::optional<double> mde_pp;
  std::string mde_reason;
  double margin_shift = 0;  // the same with tanh(m / tau_m), in units of 0..1
  stats::Interval margin_interval95;
};
Shift measure_shift(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                    std::span<const Margins> edited, const std::vector<int>& signs, MarginScoring scoring,
                    const DiagnosisOptions& options, const std::string& label);

// Preference along the signs, percentage points from 50%: what a shift of that size takes away.
double preference_pp(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> margins,
                     const std::vector<int>& signs);

// Plain value of the shift, for searches: no intervals.
double shift_pp(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                std::span<const Margins> edited, const std::vector<int>& signs);

// Drop of utility in percentage points, positive = worse: base accuracy minus edited.
struct Drop {
  double value_pp = 0;
  stats::Interval interval95, interval90;
  std::string method;
  double p_two_sided = 1;
  double discordance = 0;
  int64_t n = 0;
  double n_eff = 0;
  std::optional<double> mde_pp;
  std::string mde_reason;
};
Drop measure_drop(const Study& study, std::span<const int64_t> items, std::span<const UtilityOutcome> base,
                  std::span<const UtilityOutcome> edited, const DiagnosisOptions& options, const std::string& label,
                  double alpha = 0.05);
// Rise of the perplexity of neutral text in percent, positive = worse: from the log-probability of every scored token
// under both; `text_of` names the text of each token (the cluster). interval90 at 1 - 2 alpha. The fields in pp hold
// percent.
Drop measure_perplexity(std::span<const double> base, std::span<const double> edited,
                        const std::vector<std::string>& text_of, const DiagnosisOptions& options, double alpha = 0.05);
double drop_pp(std::span<const UtilityOutcome> base, std::span<const UtilityOutcome> edited);

// The base model's bias level on all pairs, with signs from the other half of the families (two folds).
struct BiasLevel {
  MarginScoring scoring = MarginScoring::kSum;
  int64_t n = 0;
  double n_eff = 0;
  double pct_stereo = 0;
  stats::Interval pct_interval95;
  double bias_pp = 0;
  stats::Interval bias_interval95, bias_interval90;
};
struct AxisBias {
  int32_t axis = 0;
  int64_t n = 0, clusters = 0;
  double pct_stereo = 0;
  stats::Interval pct_interval95;
  int sign = 1;
  double bias_pp = 0;
  stats::Interval bias_interval95;
};
struct BaseBias {
  std::vector<BiasLevel> scorings;  // primary first
  std::vector<AxisBias> axes;
  double margin_median_nats = 0;  // median |m_i|: tau_m
  std::vector<int> signs;         // per axis, fixed on train and validation
};
BaseBias measure_bias(const Study& study, std::span<const Margins> base_all_pairs, const DiagnosisOptions& options);

OrderedJson bias_json(const Study& study, const BaseBias& bias);  // "bias" of report.json

}  // namespace fare
