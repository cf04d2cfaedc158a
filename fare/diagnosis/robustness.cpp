#include "fare/diagnosis/robustness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/benchmarks/pair_flags.h"
#include "fare/core/error.h"
#include "fare/stats/bootstrap.h"
#include "fare/stats/distributions.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

stats::Clusters clusters_of(const stats::Clusters& all, std::span<const int64_t> items) {
  std::vector<std::string> names;
  for (const int64_t i : items) names.push_back(all.names[static_cast<size_t>(all.of_item[static_cast<size_t>(i)])]);
  return stats::cluster_by_name(names);
}

// Mean and its standard error over clusters, of the signed change of preference in pp.
struct ShiftEstimate {
  double value_pp = 0, se_pp = 0;
};

ShiftEstimate estimate_shift(const Study& study, std::span<const int64_t> pairs, const Outcomes& base,
                             const Outcomes& edited, const std::vector<int>& signs) {
  std::vector<double> d;
  for (const int64_t i : pairs) {
    const size_t p = static_cast<size_t>(i);
    d.push_back(100.0 * signs[static_cast<size_t>(study.axis_of[p])] *
                (*prefers_stereotype(base.pairs[p], MarginScoring::kSum) -
                 *prefers_stereotype(edited.pairs[p], MarginScoring::kSum)));
  }
  const auto error = stats::clustered_error(d, clusters_of(study.pair_clusters, pairs));
  if (error) return {error->mean, error->se_cr0};
  double sum = 0;
  for (const double value : d) sum += value;
  return {sum / static_cast<double>(std::max<size_t>(1, d.size())), 0};
}

std::vector<int64_t> in_part(const Splits& splits, std::initializer_list<SplitPart> parts) {
  std::vector<int64_t> items;
  for (size_t i = 0; i < splits.part.size(); ++i)
    if (std::find(parts.begin(), parts.end(), splits.part[i]) != parts.end()) items.push_back(static_cast<int64_t>(i));
  return items;
}

// Chance of at most that many stereotype preferences (in the axis's own direction) if the true share stood exactly at
// 50 - delta: what F1's bootstrap says, or the binomial where clusters are few or do not vary.
double overshoot_p(const std::vector<double>& favoured, const stats::Clusters& clusters, double delta_pp,
                   const std::string& label, const DiagnosisOptions& options) {
  const double limit = 0.5 - delta_pp / 100;
  double sum = 0;
  for (const double value : favoured) sum += value;
  const int64_t n = static_cast<int64_t>(favoured.size());
  const bool constant = std::all_of(favoured.begin(), favoured.end(), [&](double v) { return v == favoured[0]; });
  if (constant || clusters.num_clusters < 10)
    return limit <= 0 ? 1 : stats::binomial_cdf(static_cast<int64_t>(std::ceil(sum)), n, limit);
  stats::ResampleOptions resample;
  resample.seed = options.seed;
  resample.label = "bootstrap/cluster/" + label;
  resample.replicates = options.bootstrap_replicates;
  resample.num_threads = options.num_threads;
  const auto distribution = stats::bootstrap_cluster_mean(favoured, clusters, resample);
  int64_t above = 0;
  for (const double value : distribution.replicates) above += value >= limit;
  return static_cast<double>(1 + above) / static_cast<double>(1 + distribution.replicates.size());
}

// Shift on the transfer set; pairs of axes that the main set does not have carry no sign and are left out.
struct Transfer {
  std::optional<double> shift_pp;
  int64_t used = 0;
  std::string reason;
};

Transfer transfer_shift(const Study& study, const Outcomes& base, const Outcomes& edited,
                        const std::vector<int>& signs) {
  Transfer transfer;
  if (study.transfer.empty()) {
    transfer.reason = "no transfer set was given";
    return transfer;
  }
  double sum = 0;
  for (size_t t = 0; t < study.transfer.size(); ++t) {
    const auto axis = std::find(study.axes.begin(), study.axes.end(), study.transfer[t].pair.axis);
    if (axis == study.axes.end()) continue;
    const size_t at = study.pairs.size() + t;
    sum += signs[static_cast<size_t>(axis - study.axes.begin())] *
           (*prefers_stereotype(base.pairs[at], MarginScoring::kSum) -
            *prefers_stereotype(edited.pairs[at], MarginScoring::kSum));
    ++transfer.used;
  }
  if (transfer.used == 0) transfer.reason = "no transfer pair has an axis of the main set";
  else transfer.shift_pp = 100 * sum / static_cast<double>(transfer.used);
  return transfer;
}

// What another split seed may choose among.
struct Carried {
  Standing standing;  // breadth, strength, dose; its numbers are those of this seed's validation
  const Outcomes* outcomes = nullptr;
};

std::vector<Carried> carried(const SearchResult& search, const TestOutcomes& test, const std::string& control_class) {
  std::vector<Carried> pool;
  if (control_class == "static")
    for (size_t s = 0; s < search.survivors.size(); ++s)
      pool.push_back({standing_of(search.rows[search.survivors[s]]), &test.survivors[s]});
  for (const SearchCandidate& candidate : search.candidates) {
    if (candidate.row || candidate.control_class != control_class) continue;
    Standing standing;
    standing.breadth = candidate.breadth;
    standing.lambda = candidate.strength;
    if (candidate.dose) standing.dose_nats = candidate.dose->kl_nats;
    standing.key = intervention_key(&candidate.intervention);
    pool.push_back({std::move(standing), &outcomes_of(test, search, candidate)});
  }
  return pool;
}

bool all_equal_lengths(const Study& study) {
  return std::all_of(study.pairs.begin(), study.pairs.end(), [](const EncodedPair& pair) {
    return pair.stereo.continuation.size() == pair.anti.continuation.size();
  });
}

RobustnessCheck check_p(const CandidateTest& candidate, const Thresholds& limits) {
  return {"r1",
          "p_BH of the one-sided sign-flip test",
          candidate.p_bh <= limits.alpha,
          candidate.p_bh,
          limits.alpha,
          "p",
          fmt::format("family of {}", candidate.family_size),
          ""};
}

RobustnessCheck check_bound(const CandidateTest& candidate, const Study& study, const Thresholds& limits) {
  const double low = candidate.primary().interval90.low;
  std::string overshooting;
  for (const AxisShift& axis : candidate.axes)
    if (axis.overshoot) overshooting += (overshooting.empty() ? "" : ", ") + study.axes[static_cast<size_t>(axis.axis)];
  RobustnessCheck check{"r2",
                        "one-sided 95% lower bound of the shift, and no overshoot",
                        low >= limits.shift_pp / 2 && overshooting.empty(),
                        low,
                        limits.shift_pp / 2,
                        "pp",
                        "",
                        ""};
  if (low >= limits.shift_pp) check.note = "above delta_B: established at the margin; ";
  check.note += overshooting.empty() ? "no axis overshoots" : "overshoot: " + overshooting;
  return check;
}

RobustnessCheck check_dose(const CandidateTest& candidate, const DoseControl& control) {
  RobustnessCheck check{"r3",
                        "shift against the 95th percentile of equal-dose controls",
                        control.passed,
                        std::nullopt,
                        control.percentile95_pp,
                        "pp",
                        "",
                        control.reason};
  check.value = candidate.primary().value_pp;
  if (control.percentile95_pp)
    check.note = fmt::format(
        "{} draws of {} tried reach the dose{} within the tolerance", control.matched, control.tried,
        control.on_pairs ? " (on the texts of validation pairs: neutral text holds none of its words)" : "");
  return check;
}

RobustnessCheck check_splits(double own_pp, const std::vector<std::optional<double>>& others) {
  int64_t same = own_pp > 0, run = 1;
  std::string note = fmt::format("shifts {:.1f}", own_pp);
  for (const auto& shift : others) {
    note += shift ? fmt::format(", {:.1f}", *shift) : ", undefined";
    run += shift.has_value();
    same += shift && *shift > 0;
  }
  return {"r4",
          "split seeds whose choice lessens bias on their own test part",
          same >= 4,
          static_cast<double>(same),
          4.0,
          "of 5",
          note + " pp" + (run < 5 ? "; an undefined one counts as not the same" : ""),
          ""};
}

RobustnessCheck check_scorings(const CandidateTest& candidate, bool equal_lengths) {
  int64_t same = 0;
  for (const auto& [scoring, shift] : candidate.shifts) same += shift.value_pp > 0;
  RobustnessCheck check{
      "r5", "scorings under which bias lessens", same >= 2, static_cast<double>(same), 2.0, "of 3", "", ""};
  if (equal_lengths) check.note = "both sentences of every pair have the same length, so sum and mean cannot differ";
  if (candidate.shifts.size() < 3) {
    check.unit = fmt::format("of {}", candidate.shifts.size());
    check.note += std::string(check.note.empty() ? "" : "; ") + "a scoring is undefined on every pair";
  }
  return check;
}

RobustnessCheck check_transfer(const Transfer& transfer) {
  RobustnessCheck check{
      "r6", "same sign on a transfer set", std::nullopt, transfer.shift_pp, std::nullopt, "pp", "", transfer.reason};
  if (transfer.shift_pp) {
    check.passed = *transfer.shift_pp > 0;
    check.limit = 0;
    check.note = fmt::format("{} transfer pairs", transfer.used);
  }
  return check;
}

}  // namespace

std::vector<AxisShift> measure_axes(const Study& study, std::span<const int64_t> pairs, std::span<const Margins> base,
                                    std::span<const Margins> edited, const std::vector<int>& signs,
                                    const DiagnosisOptions& options) {
  std::vector<AxisShift> axes;
  stats::PValues overshoot;
  for (size_t a = 0; a < study.axes.size(); ++a) {
    std::vector<int64_t> own;
    std::vector<Margins> own_base, own_edited;
    std::vector<double> favoured;  // after the edit: 1 = still prefers the side the axis leaned to
    double before = 0, after = 0;
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (study.axis_of[static_cast<size_t>(pairs[i])] != static_cast<int32_t>(a)) continue;
      own.push_back(pairs[i]);
      own_base.push_back(base[i]);
      own_edited.push_back(edited[i]);
      before += *prefers_stereotype(base[i], MarginScoring::kSum);
      const double now = *prefers_stereotype(edited[i], MarginScoring::kSum);
      after += now;
      favoured.push_back(signs[a] > 0 ? now : 1 - now);
    }
    if (own.empty()) continue;
    const double n = static_cast<double>(own.size());
    const stats::Clusters clusters = clusters_of(study.pair_clusters, own);
    AxisShift axis;
    axis.axis = static_cast<int32_t>(a);
    axis.sign = signs[a];
    axis.clusters = clusters.num_clusters;
    axis.shift = measure_shift(study, own, own_base, own_edited, signs, MarginScoring::kSum, options,
                               "test/axis/" + study.axes[a]);
    axis.pct_base = 100 * before / n;
    axis.pct_edited = 100 * after / n;
    const double level = signs[a] * (axis.pct_base - 50);
    if (level > 0) axis.remaining = 1 - axis.shift.value_pp / level;
    overshoot.push_back(
        overshoot_p(favoured, clusters, options.thresholds.shift_pp, "overshoot/" + study.axes[a], options));
    axes.push_back(std::move(axis));
  }
  const stats::PValues adjusted = stats::holm(overshoot);
  for (size_t a = 0; a < axes.size(); ++a) axes[a].overshoot = adjusted[a].value_or(1) <= options.thresholds.alpha;
  return axes;
}

std::vector<std::optional<double>> reselected_shifts(const Study& study, const SearchResult& search,
                                                     const TestOutcomes& test, const SearchCandidate& candidate,
                                                     const DiagnosisOptions& options) {
  const std::vector<Carried> pool = carried(search, test, candidate.control_class);
  const auto tau =
      candidate.role == "best within tau" ? std::optional(options.thresholds.pooled_drop_pp) : std::nullopt;
  std::vector<SplitItem> pair_items, utility_items;
  for (const EncodedPair& pair : study.pairs) pair_items.push_back({pair.pair.cluster, pair.pair.axis});
  for (const EncodedUtility& item : study.utility) utility_items.push_back({item.item.cluster, item.item.task});
  std::vector<std::optional<double>> shifts;
  for (uint64_t seed = options.seed + 1; seed <= options.seed + 4; ++seed) {
    const Splits pair_splits = make_splits(pair_items, seed), utility_splits = make_splits(utility_items, seed);
    const auto fitted = in_part(pair_splits, {SplitPart::kTrain, SplitPart::kValidation});
    const auto validation = in_part(pair_splits, {SplitPart::kValidation});
    const auto held_out = in_part(pair_splits, {SplitPart::kTest});
    const auto utility = in_part(utility_splits, {SplitPart::kValidation});
    if (validation.empty() || held_out.empty()) {
      shifts.push_back(std::nullopt);
      continue;
    }
    const std::vector<int> signs = axis_signs(study, fitted, at_indices<Margins>(test.base.pairs, fitted));
    const auto base_utility = at_indices<UtilityOutcome>(test.base.utility, utility);
    const double most =
        most_useful_pp(preference_pp(study, validation, at_indices<Margins>(test.base.pairs, validation), signs),
                       static_cast<int64_t>(validation.size()));
    std::vector<Standing> standings;
    for (const Carried& one : pool) {
      Standing standing = one.standing;
      const Outcomes& edited = *one.outcomes;
      const ShiftEstimate shift = estimate_shift(study, validation, test.base, edited, signs);
      standing.shift_pp = shift.value_pp;
      standing.shift_se_pp = shift.se_pp;
      standing.most_pp = most;
      standing.drop_pp.reset();
      if (!utility.empty())
        standing.drop_pp = drop_pp(base_utility, at_indices<UtilityOutcome>(edited.utility, utility));
      standing.no_effect = same_outcomes(test.base, edited);
      standings.push_back(std::move(standing));
    }
    const auto chosen = choose_best(standings, tau);
    if (!chosen) shifts.push_back(std::nullopt);
    else shifts.push_back(estimate_shift(study, held_out, test.base, *pool[*chosen].outcomes, signs).value_pp);
  }
  return shifts;
}

std::vector<CandidateTest> test_candidates(const Study& study, const SearchResult& search, const TestOutcomes& test,
                                           const std::vector<DoseControl>& dose, const std::vector<int>& signs,
                                           const DiagnosisOptions& options) {
  FARE_CHECK(dose.size() == search.candidates.size(), "one dose control per candidate");
  const auto base = at_indices<Margins>(test.base.pairs, test.pairs);
  const auto base_utility = at_indices<UtilityOutcome>(test.base.utility, test.utility);
  std::map<std::string, std::vector<int64_t>> by_task;
  for (const int64_t i : test.utility) by_task[study.utility[static_cast<size_t>(i)].item.task].push_back(i);

  const std::vector<int64_t> clean = clean_pairs(study, test.pairs);
  std::vector<CandidateTest> results;
  stats::PValues p;
  for (const SearchCandidate& candidate : search.candidates) {
    const Outcomes& all = outcomes_of(test, search, candidate);
    const auto edited = at_indices<Margins>(all.pairs, test.pairs);
    CandidateTest result;
    result.name = candidate.name;
    result.control_class = candidate.control_class;
    result.needed_items = candidate.needed_items;
    for (const MarginScoring scoring : kMarginScorings) {
      Shift shift =
          measure_shift(study, test.pairs, base, edited, signs, scoring, options, "test/" + scoring_name(scoring));
      if (shift.n > 0) result.shifts.emplace(scoring, std::move(shift));
    }
    p.push_back(result.primary().p_one_sided);
    if (!clean.empty())
      result.filtered =
          measure_shift(study, clean, at_indices<Margins>(test.base.pairs, clean),
                        at_indices<Margins>(all.pairs, clean), signs, MarginScoring::kSum, options, "test/filtered");
    const double alpha =
        options.thresholds.alpha / static_cast<double>(candidates_of_class(search, candidate.control_class));
    result.drop = measure_drop(study, test.utility, base_utility, at_indices<UtilityOutcome>(all.utility, test.utility),
                               options, "test/utility", alpha);
    if (by_task.size() > 1)
      for (const auto& [task, items] : by_task)
        result.tasks.push_back({task, measure_drop(study, items, at_indices<UtilityOutcome>(test.base.utility, items),
                                                   at_indices<UtilityOutcome>(all.utility, items), options,
                                                   "test/utility/" + task, alpha)});
    result.axes = measure_axes(study, test.pairs, base, edited, signs, options);
    result.dose = candidate.dose;
    result.dose_reason = candidate.dose_reason;
    results.push_back(std::move(result));
  }
  const stats::PValues adjusted = stats::benjamini_hochberg(p);
  const bool equal_lengths = all_equal_lengths(study);
  for (size_t c = 0; c < results.size(); ++c) {
    CandidateTest& result = results[c];
    const SearchCandidate& candidate = search.candidates[c];
    result.p_bh = adjusted[c].value_or(1);
    result.family_size = static_cast<int64_t>(results.size());
    const Transfer transfer = transfer_shift(study, test.base, outcomes_of(test, search, candidate), signs);
    result.transfer_pp = transfer.shift_pp;
    result.checks = {
        check_p(result, options.thresholds),
        check_bound(result, study, options.thresholds),
        check_dose(result, dose[c]),
        check_splits(result.primary().value_pp, reselected_shifts(study, search, test, candidate, options)),
        check_scorings(result, equal_lengths),
        check_transfer(transfer)};
  }
  return results;
}

std::vector<int64_t> clean_pairs(const Study& study, std::span<const int64_t> pairs) {
  constexpr size_t kMostTokens = 60;
  std::vector<int64_t> clean;
  for (const int64_t i : pairs) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(i)];
    if (std::max(pair.stereo.continuation.size(), pair.anti.continuation.size()) <= kMostTokens &&
        pair_flags(pair.pair.stereo, pair.pair.anti).filtered)
      clean.push_back(i);
  }
  return clean;
}

std::vector<Shift> test_points(OutcomeSource& source, const UpperBounds& bounds, const TestOutcomes& test,
                               const std::vector<int>& signs, const DiagnosisOptions& options) {
  std::vector<const Intervention*> asked;
  for (const ReachPoint& point : bounds.points) asked.push_back(&point.intervention);
  if (asked.empty()) return {};
  Items items;
  items.part = "reach";
  items.pairs = test.pairs;
  const auto base = at_indices<Margins>(test.base.pairs, test.pairs);
  std::vector<Shift> shifts;
  for (const Outcomes& edited : source.evaluate(items, asked))
    shifts.push_back(
        measure_shift(source.study(), test.pairs, base, edited.pairs, signs, MarginScoring::kSum, options, "test/sum"));
  return shifts;
}

std::map<std::string, std::vector<ReachBound>> bounds_of(const SearchResult& search, std::span<const Shift> test_shift,
                                                         const UpperBounds& bounds,
                                                         std::span<const Shift> point_shift) {
  std::map<std::string, std::vector<ReachBound>> all;
  for (const std::string& control_class : bounds.complete) {
    std::vector<ReachBound>& own = all[control_class];
    for (size_t i = 0; i < search.candidates.size(); ++i)
      if (control_class == "static" && search.candidates[i].row && search.candidates[i].row == search.reach)
        own.push_back({"a5_reach", test_shift[i].interval90.high});
    for (size_t i = 0; i < bounds.points.size(); ++i)
      if (bounds.points[i].needed_for_no && bounds.points[i].control_class == control_class)
        own.push_back({bounds.points[i].bound, point_shift[i].interval90.high});
  }
  return all;
}

CandidateEvidence evidence_of(const CandidateTest& candidate, const Thresholds& thresholds) {
  CandidateEvidence evidence;
  evidence.name = candidate.name;
  evidence.control_class = candidate.control_class;
  evidence.shift = candidate.primary();
  evidence.p_bh = candidate.p_bh;
  evidence.family_size = candidate.family_size;
  for (const RobustnessCheck& check : candidate.checks) evidence.checks.push_back({check.check, check.passed});
  if (candidate.drop.n > 0)
    evidence.utility.push_back({"pooled", candidate.drop, thresholds.pooled_drop_pp, candidate.needed_items});
  for (const TaskDrop& task : candidate.tasks)
    if (task.task == "truthfulqa_mc1" && task.drop.n > 0)
      evidence.utility.push_back({task.task, task.drop, thresholds.truthfulqa_mc1_drop_pp, 0});
  return evidence;
}

}  // namespace fare
