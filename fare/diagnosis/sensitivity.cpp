#include "fare/diagnosis/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/diagnosis/adjusted.h"
#include "fare/diagnosis/pair_routes.h"
#include "fare/stats/comparison.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

constexpr const char* kSpans[] = {"Q", "D", "P"};

// Mean statistics of one pair at one layer over each span; none where the span is empty.
struct SpanValues {
  std::optional<RoutingStatistics> of[3];
  double before_max = 0;
};

SpanValues values_of(const PairRoutes& routes, const PairAlignment& alignment) {
  SpanValues values;
  RoutingStatistics sum{};
  double count = 0;
  const auto add = [&](int32_t stereo, int32_t anti) {
    const RoutingStatistics one = routing_statistics(routes.stereo(stereo), routes.anti(anti));
    for (size_t i = 0; i < one.size(); ++i) sum[i] += one[i];
    ++count;
    return one;
  };
  const auto close = [&](size_t span) {
    if (count > 0) {
      for (double& one : sum) one /= count;
      values.of[span] = sum;
    }
    sum = {};
    count = 0;
  };
  for (const auto& position : alignment.before)
    values.before_max = std::max(values.before_max, add(position.stereo, position.anti)[kJs]);
  close(0);
  const size_t both = std::min(alignment.differs_stereo.size(), alignment.differs_anti.size());
  for (size_t i = 0; i < both; ++i) add(alignment.differs_stereo[i], alignment.differs_anti[i]);
  close(1);
  for (const auto& position : alignment.after) add(position.stereo, position.anti);
  close(2);
  return values;
}

// Signed difference of score and selection per expert, averaged over the tokens of a span and then over pairs.
struct GapSums {
  double pairs = 0;
  std::vector<double> score_E, selected_E;
};

void add_gaps(GapSums& sums, const PairRoutes& routes, const std::vector<std::pair<int32_t, int32_t>>& positions) {
  if (positions.empty()) return;
  const size_t num_experts = static_cast<size_t>(routes.num_experts);
  sums.score_E.resize(num_experts);
  sums.selected_E.resize(num_experts);
  ++sums.pairs;
  const double share = 1 / static_cast<double>(positions.size());
  std::vector<double> p(num_experts);
  for (const auto& [stereo, anti] : positions)
    for (const double sign : {1.0, -1.0}) {
      const TokenRoute route = sign > 0 ? routes.stereo(stereo) : routes.anti(anti);
      const double largest = *std::max_element(route.logits, route.logits + num_experts);
      double total = 0;
      for (size_t e = 0; e < num_experts; ++e) total += p[e] = std::exp(route.logits[e] - largest);
      for (size_t e = 0; e < num_experts; ++e) sums.score_E[e] += sign * share * p[e] / total;
      for (int64_t slot = 0; slot < route.k; ++slot)
        if (route.ids[slot] >= 0) sums.selected_E[static_cast<size_t>(route.ids[slot])] += sign * share;
    }
}

// Demographic and null divergence of the pairs that have both, under one layer, axis, span and null.
struct Sample {
  std::vector<double> demo, null, difference;
  std::vector<std::string> cluster;
};

SensitivityRow test_sample(const Sample& sample, const DiagnosisOptions& options, SensitivityRow row) {
  const stats::Clusters clusters = stats::cluster_by_name(sample.cluster);
  const std::string label = fmt::format("sensitivity/{}/{}/{}/{}", row.layer, row.axis, row.span, row.null);
  stats::ComparisonOptions compare;
  compare.seed = options.seed;
  compare.metric = label;
  compare.replicates = options.bootstrap_replicates;
  compare.draws = options.permutations;
  compare.num_threads = options.num_threads;
  const stats::Comparison c = stats::compare_paired(sample.difference, clusters, compare).value();
  row.n = c.num_items;
  row.n_eff = c.num_effective;
  for (size_t i = 0; i < sample.demo.size(); ++i) {
    row.js_demo += sample.demo[i] / static_cast<double>(sample.demo.size());
    row.js_null += sample.null[i] / static_cast<double>(sample.null.size());
  }
  row.difference = c.estimate;
  const auto interval = c.interval(0.95);
  row.difference95 =
      interval ? *interval : stats::Interval{-1, 1};  // nothing is known beyond the range of the statistic
  row.p = c.test.p;
  if (c.dz) row.d_z = *c.dz;
  else row.reason = c.dz.reason;

  stats::ResampleOptions resample;
  resample.seed = options.seed;
  resample.label = "bootstrap/cluster/" + label + "/effects";
  resample.replicates = options.bootstrap_replicates;
  resample.num_threads = options.num_threads;
  if (row.d_z) {
    const auto dz = stats::bootstrap_dz(sample.difference, clusters, resample).percentile(0.95);
    if (dz) row.d_z95 = *dz;
    else row.reason = dz.reason;
  }
  if (row.js_null > 0) {
    row.ratio = row.js_demo / row.js_null;
    const auto table = stats::cluster_table({sample.demo, sample.null}, clusters);
    const auto ratio = stats::bootstrap(
                           table, 1,
                           [](std::span<const double> totals, std::span<std::optional<double>> values) {
                             if (totals[1] > 0) values[0] = totals[0] / totals[1];
                           },
                           resample)
                           .front()
                           .percentile(0.95);
    if (ratio) row.ratio95 = *ratio;
  } else if (row.reason.empty()) {
    row.reason = row.js_demo > 0 ? "the null's divergence is 0" : "both divergences are 0";
  }
  if (const auto delta = stats::cliffs_delta(sample.demo, sample.null)) row.cliffs_delta = *delta;
  if (row.n_eff > 0) row.mde = 2.801585 / std::sqrt(row.n_eff);
  return row;
}

bool is_sensitive(const SensitivityRow& row, const Thresholds& limits) {
  if (row.p_bh > limits.alpha || row.difference < limits.sensitivity_bits) return false;
  // Without variance, or against a null of 0, a positive difference is as clear as can be.
  const bool large = !row.d_z || *row.d_z >= limits.sensitivity_dz;
  const bool above_null = !row.ratio || *row.ratio >= limits.sensitivity_ratio;
  return large && above_null;
}

SensitivityAnswer answer_of(const Sensitivity& sensitivity, const Thresholds& limits) {
  SensitivityAnswer answer;
  answer.stage = 1;
  answer.name = "sensitive";
  answer.statistic = "d_z";
  answer.unit = "SD";
  answer.limit = limits.sensitivity_dz;
  answer.split = "train";
  const SensitivityRow* best = nullptr;
  bool all_small = true, all_zero = true;
  for (const SensitivityRow& row : sensitivity.rows) {
    if (row.axis != "all" || row.span != "P" || row.null != "N1") continue;
    all_zero = all_zero && row.js_demo == 0 && row.js_null == 0;
    const bool small = (row.d_z95 && row.d_z95->high < limits.sensitivity_dz) || (row.js_demo == 0 && row.js_null == 0);
    all_small = all_small && small;
    const auto key = [](const SensitivityRow& r) { return std::tuple(r.sensitive, r.d_z.value_or(1e9)); };
    if (best == nullptr || key(row) > key(*best)) best = &row;
  }
  if (best == nullptr) {
    answer.answer = Answer::kNotRun;
    answer.reason = "there are no neutral null pairs (N1) to compare with, or no token after the change";
    return answer;
  }
  answer.value = best->d_z;
  answer.interval = best->d_z95;
  answer.p = best->p;
  answer.p_bh = best->p_bh;
  answer.family_size = best->family_size;
  answer.n = best->n;
  answer.n_eff = best->n_eff;
  answer.mde = best->mde;
  if (best->sensitive) {
    answer.answer = Answer::kYes;
    answer.reason = fmt::format("layer {} diverges {:.4f} bit after the demographic change, {:.4f} after a neutral one",
                                best->layer, best->js_demo, best->js_null);
  } else if (all_zero) {
    answer.answer = Answer::kNo;
    answer.reason = "the divergence is 0 in every layer";
  } else if (all_small) {
    answer.answer = Answer::kNo;
    answer.reason = "the upper 95% bound of d_z lies below delta_S in every layer";
  } else {
    answer.answer = Answer::kUnresolved;
    answer.reason = "no layer is sensitive, but an effect of delta_S is not excluded";
  }
  return answer;
}

}  // namespace

std::string null_name(PairKind kind) {
  return kind == PairKind::kNullNeutral ? "N1" : kind == PairKind::kNullSameGroup ? "N2" : "N3";
}

Sensitivity measure_sensitivity(Measurer& measurer, const DiagnosisOptions& options) {
  return measure_sensitivity(measurer, options, measurer.study().pairs_in(SplitPart::kTrain), "train");
}

Sensitivity measure_sensitivity(Measurer& measurer, const DiagnosisOptions& options, const std::vector<int64_t>& train,
                                const std::string& split) {
  const Study& study = measurer.study();
  Sensitivity sensitivity;
  std::vector<int64_t> place(study.pairs.size(), -1);  // of a pair within train
  for (size_t i = 0; i < train.size(); ++i) place[static_cast<size_t>(train[i])] = static_cast<int64_t>(i);

  std::vector<const EncodedPair*> pairs;
  std::vector<std::pair<int64_t, std::string>> what;  // place in train, "" = demographic or the null's name
  for (const int64_t i : train) {
    pairs.push_back(&study.pairs[static_cast<size_t>(i)]);
    what.emplace_back(place[static_cast<size_t>(i)], "");
  }
  std::map<std::string, std::vector<bool>> has_null;
  for (size_t n = 0; n < study.nulls.size(); ++n) {
    const int64_t of = study.null_of[n];
    if (of < 0 || place[static_cast<size_t>(of)] < 0) continue;
    const std::string name = null_name(study.nulls[n].pair.kind);
    pairs.push_back(&study.nulls[n]);
    what.emplace_back(place[static_cast<size_t>(of)], name);
    auto& flags = has_null[name];
    flags.resize(train.size());
    flags[static_cast<size_t>(what.back().first)] = true;
    ++sensitivity.null_pairs[name];
  }
  for (const auto& [name, flags] : has_null)
    sensitivity.missing[name] = static_cast<int64_t>(std::count(flags.begin(), flags.end(), false));

  // Per layer, span and kind ("" or null): sums of each statistic and counts per pair of train.
  struct Cell {
    std::vector<RoutingStatistics> sum;
    std::vector<double> count;
    double mean(size_t pair, size_t statistic) const { return sum[pair][statistic] / count[pair]; }
  };
  std::map<std::tuple<int64_t, std::string, std::string>, Cell> cells;
  std::map<std::pair<int64_t, std::string>, GapSums> gaps;  // by layer and span
  const std::vector<std::optional<SpanTraits>> traits = span_traits(measurer, pairs);
  std::map<int64_t, std::vector<Observation>> observations;  // by layer
  for_each_pair_routes(measurer, pairs, [&](const PairRoutes& routes) {
    const auto& [pair, kind] = what[routes.index];
    const PairAlignment& alignment = pairs[routes.index]->alignment;
    const SpanValues values = values_of(routes, alignment);
    sensitivity.causal_zero_max = std::max(sensitivity.causal_zero_max, values.before_max);
    for (size_t span = 0; span < 3; ++span) {
      if (!values.of[span]) continue;
      Cell& cell = cells[{routes.layer, kSpans[span], kind}];
      cell.sum.resize(train.size());
      cell.count.resize(train.size());
      for (size_t i = 0; i < kNumRoutingStatistics; ++i)
        cell.sum[static_cast<size_t>(pair)][i] += (*values.of[span])[i];
      cell.count[static_cast<size_t>(pair)] += 1;
    }
    if (values.of[2] && traits[routes.index] && (kind.empty() || kind == "N1"))
      observations[routes.layer].push_back(
          {(*values.of[2])[kJs], *traits[routes.index], kind.empty(), pairs[routes.index]->pair.cluster});
    if (!kind.empty()) return;
    std::vector<std::pair<int32_t, int32_t>> positions;
    for (size_t i = 0; i < std::min(alignment.differs_stereo.size(), alignment.differs_anti.size()); ++i)
      positions.emplace_back(alignment.differs_stereo[i], alignment.differs_anti[i]);
    add_gaps(gaps[{routes.layer, "D"}], routes, positions);
    positions.clear();
    for (const auto& position : alignment.after) positions.emplace_back(position.stereo, position.anti);
    add_gaps(gaps[{routes.layer, "P"}], routes, positions);
  });
  for (const auto& [key, sums] : gaps)
    for (size_t e = 0; e < sums.score_E.size(); ++e)
      sensitivity.expert_gaps.push_back({key.first, static_cast<int32_t>(e), key.second, sums.score_E[e] / sums.pairs,
                                         sums.selected_E[e] / sums.pairs});
  for (const auto& [layer, list] : observations) sensitivity.adjusted.push_back(adjusted_effect(list, layer, options));

  std::vector<std::string> axes = {"all"};
  axes.insert(axes.end(), study.axes.begin(), study.axes.end());
  for (const auto& [key, null] : cells) {
    const auto& [layer, span, kind] = key;
    for (const std::string& axis : axes) {
      StatisticsRow row;
      row.layer = layer;
      row.axis = axis;
      row.span = span;
      row.kind = kind.empty() ? "demographic" : kind;
      for (size_t i = 0; i < train.size(); ++i) {
        if ((axis != "all" && study.pairs[static_cast<size_t>(train[i])].pair.axis != axis) || null.count[i] == 0)
          continue;
        ++row.n;
        for (size_t k = 0; k < kNumRoutingStatistics; ++k) row.mean[k] += null.mean(i, k);
      }
      if (row.n == 0) continue;
      for (double& mean : row.mean) mean /= static_cast<double>(row.n);
      sensitivity.statistics.push_back(row);
    }
    // Before the change nothing can differ, so there is nothing to test.
    if (kind.empty() || span == "Q") continue;
    const auto found = cells.find({layer, span, ""});
    if (found == cells.end()) continue;
    const Cell& demo = found->second;
    for (const std::string& axis : axes) {
      Sample sample;
      for (size_t i = 0; i < train.size(); ++i) {
        const EncodedPair& pair = study.pairs[static_cast<size_t>(train[i])];
        if ((axis != "all" && pair.pair.axis != axis) || demo.count[i] == 0 || null.count[i] == 0) continue;
        sample.demo.push_back(demo.mean(i, kJs));
        sample.null.push_back(null.mean(i, kJs));
        sample.difference.push_back(sample.demo.back() - sample.null.back());
        sample.cluster.push_back(pair.pair.cluster);
      }
      if (sample.demo.empty()) continue;
      SensitivityRow row;
      row.layer = layer;
      row.axis = axis;
      row.span = span;
      row.null = kind;
      sensitivity.rows.push_back(test_sample(sample, options, std::move(row)));
      measurer.progress().check();
    }
  }
  std::vector<std::optional<double>> p;
  for (const SensitivityRow& row : sensitivity.rows) p.emplace_back(row.p);
  const stats::PValues corrected = stats::benjamini_hochberg(p);
  for (size_t i = 0; i < p.size(); ++i) {
    SensitivityRow& row = sensitivity.rows[i];
    row.p_bh = *corrected[i];
    row.family_size = static_cast<int64_t>(p.size());
    row.sensitive = is_sensitive(row, options.thresholds);
    if (row.sensitive && row.axis == "all" && row.span == "P" && row.null == "N1")
      sensitivity.sensitive_layers.push_back(row.layer);
  }
  sensitivity.answer = answer_of(sensitivity, options.thresholds);
  sensitivity.answer.split = split;
  return sensitivity;
}

}  // namespace fare
