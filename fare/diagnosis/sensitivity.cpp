#include "fare/diagnosis/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/diagnosis/pair_routes.h"
#include "fare/stats/comparison.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

constexpr double kNegligibleBits = 1e-9;

void softmax(const float* z, int64_t n, std::vector<double>& p) {
  p.resize(static_cast<size_t>(n));
  const double largest = *std::max_element(z, z + n);
  double total = 0;
  for (int64_t e = 0; e < n; ++e) total += p[static_cast<size_t>(e)] = std::exp(z[e] - largest);
  for (double& value : p) value /= total;
}

// Mean divergence of one pair at one layer over a span; none when the span is empty.
struct SpanValues {
  std::optional<double> after, differs;
  double before_max = 0;
};

SpanValues divergence_of(const PairRoutes& routes, const PairAlignment& alignment) {
  const auto at_rows = [&](int32_t stereo, int32_t anti) {
    return router_divergence_bits(routes.logits + routes.stereo_rows[static_cast<size_t>(stereo)] * routes.num_experts,
                                  routes.logits + routes.anti_rows[static_cast<size_t>(anti)] * routes.num_experts,
                                  routes.num_experts);
  };
  SpanValues values;
  for (const auto& position : alignment.before)
    values.before_max = std::max(values.before_max, at_rows(position.stereo, position.anti));
  double sum = 0;
  for (const auto& position : alignment.after) sum += at_rows(position.stereo, position.anti);
  if (!alignment.after.empty()) values.after = sum / static_cast<double>(alignment.after.size());
  const size_t both = std::min(alignment.differs_stereo.size(), alignment.differs_anti.size());
  sum = 0;
  for (size_t i = 0; i < both; ++i) sum += at_rows(alignment.differs_stereo[i], alignment.differs_anti[i]);
  if (both > 0) values.differs = sum / static_cast<double>(both);
  return values;
}

std::string null_name(PairKind kind) {
  return kind == PairKind::kNullNeutral ? "N1" : kind == PairKind::kNullSameGroup ? "N2" : "N3";
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
  row.difference95 = interval ? *interval : stats::Interval{c.estimate, c.estimate};
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
    const auto ratio = stats::bootstrap(table, 1, [](std::span<const double> totals, std::span<std::optional<double>> values) {
                         if (totals[1] > 0) values[0] = totals[0] / totals[1];
                       }, resample).front().percentile(0.95);
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

double router_divergence_bits(const float* a, const float* b, int64_t num_experts) {
  if (std::equal(a, a + num_experts, b)) return 0;
  thread_local std::vector<double> p, q;
  softmax(a, num_experts, p);
  softmax(b, num_experts, q);
  double bits = 0;
  for (size_t e = 0; e < p.size(); ++e) {
    const double m = (p[e] + q[e]) / 2;
    if (p[e] > 0) bits += p[e] / 2 * std::log2(p[e] / m);
    if (q[e] > 0) bits += q[e] / 2 * std::log2(q[e] / m);
  }
  return bits < kNegligibleBits ? 0 : bits;
}

Sensitivity measure_sensitivity(Measurer& measurer, const DiagnosisOptions& options) {
  const Study& study = measurer.study();
  Sensitivity sensitivity;
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain);
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

  // Per layer, span and kind ("" or null): sums and counts per pair of train.
  struct Cell {
    std::vector<double> sum, count;
  };
  std::map<std::tuple<int64_t, std::string, std::string>, Cell> cells;
  for_each_pair_routes(measurer, pairs, [&](const PairRoutes& routes) {
    const auto& [pair, kind] = what[routes.index];
    const SpanValues values = divergence_of(routes, pairs[routes.index]->alignment);
    sensitivity.causal_zero_max = std::max(sensitivity.causal_zero_max, values.before_max);
    const auto add = [&](const char* span, const std::optional<double>& value) {
      if (!value) return;
      Cell& cell = cells[{routes.layer, span, kind}];
      cell.sum.resize(train.size());
      cell.count.resize(train.size());
      cell.sum[static_cast<size_t>(pair)] += *value;
      cell.count[static_cast<size_t>(pair)] += 1;
    };
    add("P", values.after);
    add("D", values.differs);
  });

  std::vector<std::string> axes = {"all"};
  axes.insert(axes.end(), study.axes.begin(), study.axes.end());
  for (const auto& [key, null] : cells) {
    const auto& [layer, span, kind] = key;
    if (kind.empty()) continue;
    const auto found = cells.find({layer, span, ""});
    if (found == cells.end()) continue;
    const Cell& demo = found->second;
    for (const std::string& axis : axes) {
      Sample sample;
      for (size_t i = 0; i < train.size(); ++i) {
        const EncodedPair& pair = study.pairs[static_cast<size_t>(train[i])];
        if ((axis != "all" && pair.pair.axis != axis) || demo.count[i] == 0 || null.count[i] == 0) continue;
        sample.demo.push_back(demo.sum[i] / demo.count[i]);
        sample.null.push_back(null.sum[i] / null.count[i]);
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
  return sensitivity;
}

OrderedJson sensitivity_json(const Sensitivity& sensitivity) {
  OrderedJson json;
  json["primary_span"] = "P";
  json["primary_null"] = "N1";
  json["sensitive_layers"] = sensitivity.sensitive_layers;
  json["causal_zero_max"] = sensitivity.causal_zero_max;
  json["rows"] = OrderedJson::array();
  for (const SensitivityRow& row : sensitivity.rows) {
    OrderedJson one;
    const auto number = [&](const char* name, const std::optional<double>& value) {
      if (value) {
        one[name] = *value;
      } else {
        one[name] = nullptr;
        one[std::string(name) + "_reason"] = row.reason.empty() ? "undefined here" : row.reason;
      }
    };
    const auto interval = [&](const char* name, const std::optional<stats::Interval>& value) {
      if (value) {
        one[name] = OrderedJson::array({value->low, value->high});
      } else {
        one[name] = nullptr;
        one[std::string(name) + "_reason"] = row.reason.empty() ? "undefined here" : row.reason;
      }
    };
    one["layer"] = row.layer;
    one["axis"] = row.axis;
    one["span"] = row.span;
    one["null"] = row.null;
    one["n"] = row.n;
    one["n_eff"] = row.n_eff;
    one["js_demo"] = row.js_demo;
    one["js_null"] = row.js_null;
    one["difference"] = row.difference;
    interval("difference_interval", row.difference95);
    number("d_z", row.d_z);
    interval("d_z_interval", row.d_z95);
    number("ratio", row.ratio);
    interval("ratio_interval", row.ratio95);
    number("cliffs_delta", row.cliffs_delta);
    one["p"] = row.p;
    one["p_bh"] = row.p_bh;
    one["family_size"] = row.family_size;
    number("mde", row.mde);
    one["sensitive"] = row.sensitive;
    json["rows"].push_back(std::move(one));
  }
  json["adjusted"] = nullptr;
  json["adjusted_reason"] = "the regression on distance, frequency and length is not part of this build";
  return json;
}

}  // namespace fare
