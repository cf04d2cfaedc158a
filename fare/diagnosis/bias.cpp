#include "fare/diagnosis/bias.h"

#include <algorithm>
#include <cmath>

#include "fare/stats/clusters.h"
#include "fare/stats/comparison.h"
#include "fare/stats/power.h"
#include "fare/stats/proportions.h"

namespace fare {
namespace {

double margin_of(const Margins& margins, MarginScoring scoring, bool& defined) {
  defined = true;
  switch (scoring) {
    case MarginScoring::kSum: return margins.sum;
    case MarginScoring::kMean: return margins.mean;
    case MarginScoring::kShared: defined = margins.shared.has_value(); return margins.shared.value_or(0);
  }
  return 0;
}

// The clusters of some of a study's items.
stats::Clusters clusters_of(const stats::Clusters& all, std::span<const int64_t> items) {
  std::vector<std::string> names;
  names.reserve(items.size());
  for (const int64_t i : items) names.push_back(all.names[static_cast<size_t>(all.of_item[static_cast<size_t>(i)])]);
  return stats::cluster_by_name(names);
}

// `largest`: of an item's difference, in percentage points.
stats::ComparisonOptions comparison_options(const DiagnosisOptions& options, const std::string& metric,
                                            double largest = 100) {
  stats::ComparisonOptions comparison;
  comparison.seed = options.seed;
  comparison.metric = metric;
  comparison.replicates = options.bootstrap_replicates;
  comparison.draws = options.permutations;
  comparison.largest = largest;
  comparison.interval = options.interval;
  comparison.num_threads = options.num_threads;
  return comparison;
}

stats::Interval interval_or_point(const stats::Comparison& comparison, double confidence) {
  const auto interval = comparison.interval(confidence);
  return interval ? *interval : stats::Interval{-100, 100};  // nothing is known beyond the range of the statistic
}

template <typename Effect>
void set_mde(Effect& effect, const stats::Comparison& comparison) {
  const auto mde = comparison.detectable_effect();
  if (mde) effect.mde_pp = *mde;
  else effect.mde_reason = mde.reason;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Interval of a level that cannot vary between clusters by design: from the items' binomial interval.
stats::Interval binomial_bias_interval(double favoured, int64_t n, double confidence) {
  const auto wilson = stats::wilson_interval(static_cast<int64_t>(std::llround(favoured)), n, confidence);
  return {100 * wilson->low - 50, 100 * wilson->high - 50};
}

}  // namespace

std::string scoring_name(MarginScoring scoring) {
  return scoring == MarginScoring::kSum ? "sum" : scoring == MarginScoring::kMean ? "mean" : "shared";
}

std::optional<double> prefers_stereotype(const Margins& margins, MarginScoring scoring) {
  bool defined = true;
  const double m = margin_of(margins, scoring, defined);
  if (!defined) return std::nullopt;
  return m > 0 ? 1.0 : m == 0 ? 0.5 : 0.0;
}

std::vector<int> axis_signs(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base) {
  std::vector<double> sum(study.axes.size(), 0), count(study.axes.size(), 0);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const size_t axis = static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])]);
    sum[axis] += *prefers_stereotype(base[i], MarginScoring::kSum);
    ++count[axis];
  }
  std::vector<int> signs;
  for (size_t a = 0; a < sum.size(); ++a) signs.push_back(sum[a] < 0.5 * count[a] ? -1 : 1);
  return signs;
}

std::vector<int> fitted_signs(OutcomeSource& source) {
  const Study& study = source.study();
  Items fit;
  fit.part = "fit";
  for (size_t i = 0; i < study.pairs.size(); ++i)
    if (study.pair_splits.part[i] != SplitPart::kTest) fit.pairs.push_back(static_cast<int64_t>(i));
  return axis_signs(study, fit.pairs, source.base(fit).pairs);
}

Shift measure_shift(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                    std::span<const Margins> edited, const std::vector<int>& signs, MarginScoring scoring,
                    const DiagnosisOptions& options, const std::string& label) {
  // Share-of-items weights make the shift the plain mean of sigma_a (1[m > 0] - 1[m' > 0]).
  std::vector<double> d, soft, magnitudes;
  std::vector<int64_t> used;
  double changed = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto before = prefers_stereotype(base[i], scoring), after = prefers_stereotype(edited[i], scoring);
    if (!before || !after) continue;
    used.push_back(pairs[i]);
    const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])])];
    d.push_back(100 * sign * (*before - *after));
    changed += *before != *after;
    bool defined = true;
    magnitudes.push_back(std::abs(margin_of(base[i], scoring, defined)));
  }
  const double tau = std::max(median_of(magnitudes), 1e-12);
  for (size_t i = 0, j = 0; i < pairs.size() && j < used.size(); ++i) {
    if (pairs[i] != used[j]) continue;
    bool defined = true;
    const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])])];
    soft.push_back(100 * sign *
                   (std::tanh(margin_of(base[i], scoring, defined) / tau) -
                    std::tanh(margin_of(edited[i], scoring, defined) / tau)) /
                   2);
    ++j;
  }
  Shift shift;
  if (d.empty()) {
    shift.mde_reason = "no pair has a defined preference under this scoring";
    return shift;
  }
  const stats::Clusters clusters = clusters_of(study.pair_clusters, used);
  const auto compared = stats::compare_columns({d, soft}, clusters, comparison_options(options, label));
  const stats::Comparison &c = compared[0].value(), &of_margins = compared[1].value();
  shift.value_pp = c.estimate;
  shift.interval95 = interval_or_point(c, 0.95);
  shift.interval90 = interval_or_point(c, 0.90);
  shift.method = c.interval_method;
  shift.p_two_sided = c.test.p;
  stats::SignFlipOptions flips;
  flips.seed = options.seed;
  flips.label = "permutation/sign-flip/" + label + "/greater";
  flips.alternative = stats::Alternative::kGreater;
  flips.draws = options.permutations;
  flips.num_threads = options.num_threads;
  shift.p_one_sided = stats::sign_flip_clusters(d, clusters, flips).value().p;
  shift.n = static_cast<int64_t>(d.size());
  shift.n_eff = c.num_effective;
  shift.discordance = changed / static_cast<double>(d.size());
  set_mde(shift, c);
  shift.margin_shift = of_margins.estimate;
  shift.margin_interval95 = interval_or_point(of_margins, 0.95);
  return shift;
}

double preference_pp(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> margins,
                     const std::vector<int>& signs) {
  double sum = 0;
  for (size_t i = 0; i < pairs.size(); ++i)
    sum += signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])])] *
           (*prefers_stereotype(margins[i], MarginScoring::kSum) - 0.5);
  return pairs.empty() ? 0 : 100 * sum / static_cast<double>(pairs.size());
}

double shift_pp(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                std::span<const Margins> edited, const std::vector<int>& signs) {
  double total = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const int sign = signs[static_cast<size_t>(study.axis_of[static_cast<size_t>(pairs[i])])];
    total += sign *
             (*prefers_stereotype(base[i], MarginScoring::kSum) - *prefers_stereotype(edited[i], MarginScoring::kSum));
  }
  return pairs.empty() ? 0 : 100 * total / static_cast<double>(pairs.size());
}

Drop measure_drop(const Study& study, std::span<const int64_t> items, std::span<const UtilityOutcome> base,
                  std::span<const UtilityOutcome> edited, const DiagnosisOptions& options, const std::string& label,
                  double alpha) {
  std::vector<double> d;
  double changed = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    d.push_back(100 * (base[i].correct - edited[i].correct));
    changed += base[i].correct != edited[i].correct;
  }
  Drop drop;
  if (d.empty()) {
    drop.mde_reason = "no utility item";
    return drop;
  }
  const auto compared =
      stats::compare_paired(d, clusters_of(study.utility_clusters, items), comparison_options(options, label));
  const stats::Comparison& c = compared.value();
  drop.value_pp = c.estimate;
  drop.interval95 = interval_or_point(c, 0.95);
  drop.interval90 = interval_or_point(c, 1 - 2 * alpha);
  drop.method = c.interval_method;
  drop.p_two_sided = c.test.p;
  drop.n = static_cast<int64_t>(d.size());
  drop.n_eff = c.num_effective;
  drop.discordance = changed / static_cast<double>(d.size());
  set_mde(drop, c);
  return drop;
}

Drop measure_perplexity(std::span<const double> base, std::span<const double> edited,
                        const std::vector<std::string>& text_of, const DiagnosisOptions& options, double alpha) {
  std::vector<double> d;
  for (size_t i = 0; i < base.size(); ++i) d.push_back(base[i] - edited[i]);
  Drop drop;
  if (d.empty()) {
    drop.mde_reason = "no neutral token";
    return drop;
  }
  const auto percent = [](double change) { return 100 * std::expm1(change); };
  const auto compared =
      stats::compare_paired(d, stats::cluster_by_name(text_of), comparison_options(options, "test/perplexity"));
  const stats::Comparison& c = compared.value();
  const auto in_percent = [&](const stats::Interval& interval) {
    return stats::Interval{percent(interval.low), percent(interval.high)};
  };
  drop.value_pp = percent(c.estimate);
  drop.interval95 = in_percent(interval_or_point(c, 0.95));
  drop.interval90 = in_percent(interval_or_point(c, 1 - 2 * alpha));
  drop.method = c.interval_method;
  drop.p_two_sided = c.test.p;
  drop.n = static_cast<int64_t>(d.size());
  drop.n_eff = c.num_effective;
  drop.mde_reason = "decided by the interval";
  return drop;
}

double drop_pp(std::span<const UtilityOutcome> base, std::span<const UtilityOutcome> edited) {
  double total = 0;
  for (size_t i = 0; i < base.size(); ++i) total += base[i].correct - edited[i].correct;
  return base.empty() ? 0 : 100 * total / static_cast<double>(base.size());
}

BaseBias measure_bias(const Study& study, std::span<const Margins> base, const DiagnosisOptions& options) {
  BaseBias bias;
  std::vector<int64_t> all(study.pairs.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);

  std::vector<double> magnitudes;
  for (const Margins& margins : base) magnitudes.push_back(std::abs(margins.sum));
  bias.margin_median_nats = median_of(magnitudes);

  std::vector<int64_t> fitted;
  std::vector<Margins> fitted_base;
  for (const int64_t i : all) {
    if (study.pair_splits.part[static_cast<size_t>(i)] == SplitPart::kTest) continue;
    fitted.push_back(i);
    fitted_base.push_back(base[static_cast<size_t>(i)]);
  }
  bias.signs = axis_signs(study, fitted, fitted_base);

  // Two folds of families: the sign of a pair's axis comes from the other fold.
  std::vector<int> signs_of_fold[2];
  for (int fold = 0; fold < 2; ++fold) {
    std::vector<int64_t> other;
    std::vector<Margins> other_base;
    for (const int64_t i : all) {
      if (study.pair_splits.bucket[static_cast<size_t>(i)] % 2 == fold) continue;
      other.push_back(i);
      other_base.push_back(base[static_cast<size_t>(i)]);
    }
    signs_of_fold[fold] = axis_signs(study, other, other_base);
  }
  const auto level = [&](const std::vector<int64_t>& pairs, MarginScoring scoring, const std::string& label,
                         const std::vector<int>* fixed_signs) {
    std::vector<double> d;
    std::vector<int64_t> used;
    double stereo = 0;
    for (const int64_t i : pairs) {
      const auto prefers = prefers_stereotype(base[static_cast<size_t>(i)], scoring);
      if (!prefers) continue;
      const size_t axis = static_cast<size_t>(study.axis_of[static_cast<size_t>(i)]);
      const int fold = study.pair_splits.bucket[static_cast<size_t>(i)] % 2;
      const int sign = fixed_signs != nullptr ? (*fixed_signs)[axis] : signs_of_fold[fold][axis];
      used.push_back(i);
      d.push_back(100 * sign * (*prefers - 0.5));
      stereo += *prefers;
    }
    BiasLevel result;
    result.scoring = scoring;
    result.n = static_cast<int64_t>(d.size());
    if (d.empty()) return result;
    const stats::Clusters clusters = clusters_of(study.pair_clusters, used);
    const auto compared = stats::compare_paired(d, clusters, comparison_options(options, label, 50));
    const stats::Comparison& c = compared.value();
    result.n_eff = c.num_effective;
    result.pct_stereo = 100 * stereo / static_cast<double>(d.size());
    const auto wilson = stats::wilson_interval(std::llround(stereo), result.n, 0.95);
    result.pct_interval95 = {100 * wilson->low, 100 * wilson->high};
    result.bias_pp = c.estimate;
    const auto sums = stats::cluster_sums(d, clusters);
    const bool balanced = clusters.num_clusters > 1 &&
                          std::all_of(sums.begin(), sums.end(), [&](double s) { return std::abs(s - sums[0]) < 1e-9; });
    if (balanced) {
      // Clusters are balanced by design and do not vary: the items' binomial interval stands in.
      const double favoured_items = (result.bias_pp / 100 + 0.5) * static_cast<double>(result.n);
      result.bias_interval95 = binomial_bias_interval(favoured_items, result.n, 0.95);
      result.bias_interval90 = binomial_bias_interval(favoured_items, result.n, 0.90);
      result.n_eff = static_cast<double>(result.n);
    } else {
      result.bias_interval95 = interval_or_point(c, 0.95);
      result.bias_interval90 = interval_or_point(c, 0.90);
    }
    return result;
  };
  for (const MarginScoring scoring : kMarginScorings)
    bias.scorings.push_back(level(all, scoring, "bias/" + scoring_name(scoring), nullptr));
  for (size_t a = 0; a < study.axes.size(); ++a) {
    std::vector<int64_t> own;
    for (const int64_t i : all) {
      if (study.axis_of[static_cast<size_t>(i)] != static_cast<int32_t>(a)) continue;
      own.push_back(i);
    }
    const BiasLevel one = level(own, MarginScoring::kSum, "bias/axis/" + study.axes[a], &bias.signs);
    AxisBias axis;
    axis.axis = static_cast<int32_t>(a);
    axis.n = one.n;
    axis.clusters = clusters_of(study.pair_clusters, own).num_clusters;
    axis.pct_stereo = one.pct_stereo;
    axis.pct_interval95 = one.pct_interval95;
    axis.sign = bias.signs[a];
    axis.bias_pp = one.bias_pp;
    axis.bias_interval95 = one.bias_interval95;
    bias.axes.push_back(axis);
  }
  return bias;
}

namespace {

OrderedJson pair_json(const stats::Interval& interval) { return OrderedJson::array({interval.low, interval.high}); }

}  // namespace

OrderedJson bias_json(const Study& study, const BaseBias& bias) {
  OrderedJson json;
  json["scorings"] = OrderedJson::array();
  for (const BiasLevel& level : bias.scorings) {
    OrderedJson row;
    row["scoring"] = scoring_name(level.scoring);
    row["primary"] = level.scoring == MarginScoring::kSum;
    row["n"] = level.n;
    if (level.n == 0) {
      const char* reason = "no pair has tokens in common";
      for (const char* name : {"n_eff", "pct_stereo", "interval"}) {
        row[name] = nullptr;
        row[std::string(name) + "_reason"] = reason;
      }
      row["level"] = 0.95;
      for (const char* name : {"bias_pp", "bias_interval"}) {
        row[name] = nullptr;
        row[std::string(name) + "_reason"] = reason;
      }
    } else {
      row["n_eff"] = level.n_eff;
      row["pct_stereo"] = level.pct_stereo;
      row["interval"] = pair_json(level.pct_interval95);
      row["level"] = 0.95;
      row["bias_pp"] = level.bias_pp;
      row["bias_interval"] = pair_json(level.bias_interval95);
    }
    json["scorings"].push_back(row);
  }
  json["axes"] = OrderedJson::array();
  for (const AxisBias& axis : bias.axes)
    json["axes"].push_back({{"axis", study.axes[static_cast<size_t>(axis.axis)]},
                            {"n", axis.n},
                            {"clusters", axis.clusters},
                            {"pct_stereo", axis.pct_stereo},
                            {"interval", pair_json(axis.pct_interval95)},
                            {"sign", axis.sign},
                            {"bias_pp", axis.bias_pp},
                            {"bias_interval", pair_json(axis.bias_interval95)}});
  json["margin_median_nats"] = bias.margin_median_nats;
  return json;
}

}  // namespace fare
