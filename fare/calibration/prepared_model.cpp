#include "fare/calibration/prepared_model.h"

#include <algorithm>
#include <cmath>

#include "fare/calibration/temporary_folder.h"
#include "fare/core/error.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/halving.h"
#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/reach.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/search.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/diagnosis/test_outcomes.h"
#include "fare/models/model.h"
#include "fare/scoring/scorer.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

constexpr int64_t kManyPairs = 2000;  // from here on delta_B is 2.5 pp (methods A10)
constexpr int64_t kCheckedControls =
    2;  // directions of equal dose where the engine is compared; each takes a dozen passes
constexpr int64_t kChoicePairs = 300, kChoiceUtility = 400;  // by which snapshots are chosen, as in the small profile

double largest_difference(const Outcomes& a, const Outcomes& b) {
  FARE_CHECK(a.pairs.size() == b.pairs.size(), "two runs measured other pairs");
  double largest = 0;
  for (size_t i = 0; i < a.pairs.size(); ++i) largest = std::max(largest, std::abs(a.pairs[i].sum - b.pairs[i].sum));
  return largest;
}

// The choice of methods A6 among the snapshots of the optimisers, on validation items of this source.
UpperBounds choose_bounds(OutcomeSource& source, const std::vector<ReachTrail>& trails, const std::vector<int>& signs,
                          const DiagnosisOptions& options) {
  const Study& study = source.study();
  Items items;
  items.part = "reach-choice";
  std::vector<int32_t> axes;
  const std::vector<int64_t> pairs = study.pairs_in(SplitPart::kValidation),
                             utility = study.utility_in(SplitPart::kValidation);
  for (const int64_t i : pairs) axes.push_back(study.axis_of[static_cast<size_t>(i)]);
  items.pairs = balanced_order(pairs, axes, options.seed, "reach/choice-pairs");
  items.utility =
      balanced_order(utility, std::vector<int32_t>(utility.size(), 0), options.seed, "reach/choice-utility");
  items.pairs.resize(std::min<size_t>(items.pairs.size(), kChoicePairs));
  items.utility.resize(std::min<size_t>(items.utility.size(), kChoiceUtility));
  const Outcomes base = source.base(items);
  const double most =
      most_useful_pp(preference_pp(study, items.pairs, base.pairs, signs), static_cast<int64_t>(items.pairs.size()));
  std::vector<ReachPick> picks;
  for (const ReachTrail& trail : trails) {
    std::vector<const Intervention*> asked;
    for (const ReachSnapshot& snapshot : trail.snapshots) asked.push_back(&snapshot.intervention);
    const std::vector<Outcomes> outcomes = source.evaluate(items, asked);
    std::vector<Standing> standings;
    for (size_t i = 0; i < outcomes.size(); ++i) {
      Standing standing;
      const size_t n = items.pairs.size();
      standing.shift_pp = shift_pp(study, items.pairs, base.pairs, outcomes[i].pairs, signs);
      double squares = 0;
      for (size_t p = 0; p < n; ++p) {
        const double change = 100 * (*prefers_stereotype(base.pairs[p], MarginScoring::kSum) -
                                     *prefers_stereotype(outcomes[i].pairs[p], MarginScoring::kSum));
        squares += change * change;
      }
      standing.shift_se_pp =
          std::sqrt(std::max(0.0, squares / static_cast<double>(n) - standing.shift_pp * standing.shift_pp) /
                    static_cast<double>(n));
      standing.most_pp = most;
      if (!items.utility.empty()) standing.drop_pp = drop_pp(base.utility, outcomes[i].utility);
      standing.breadth = trail.snapshots[i].breadth;
      standing.dose_nats = trail.snapshots[i].dose_nats;
      standing.no_effect = trail.snapshots[i].intervention.edits.empty();
      standings.push_back(standing);
    }
    for (ReachPick& pick : pick_snapshots(trail, standings, options.thresholds.pooled_drop_pp))
      picks.push_back(std::move(pick));
  }
  UpperBounds bounds = measure_points(source, picks, signs, options);
  bounds.complete = {"static"};
  return bounds;
}

}  // namespace

std::string verdict_name(const std::string& code, std::optional<int64_t> stage) {
  return code == "unresolved" && stage ? "unresolved at stage " + std::to_string(*stage) : code;
}

DiagnosisOptions pipeline_options(int64_t pairs, uint64_t seed, int64_t replicates, stats::IntervalKind interval) {
  DiagnosisOptions options;
  options.seed = seed;
  options.num_threads = 1;
  options.bootstrap_replicates = replicates;
  options.permutations = replicates;
  options.interval = interval;
  options.dose_controls = 20;  // of fewer, one direction that hits by luck decides the 95th percentile
  options.causal_pairs = 16;
  options.half_samples = 10;
  if (pairs >= kManyPairs) options.thresholds.shift_pp = 2.5;
  return options;
}

PipelineRun run_pipeline(OutcomeSource& source, const PreparedModel& prepared, const DiagnosisOptions& options) {
  const Study& study = source.study();
  PipelineRun run;
  run.signs = fitted_signs(source);
  SearchResult searched = search(source, prepared.scores, prepared.profile, run.signs, options);
  UpperBounds bounds;
  if (!prepared.trails.empty()) bounds = choose_bounds(source, prepared.trails, run.signs, options);
  settle_candidates(searched, bounds.candidates, options);
  TestOutcomes test = open_test(source, searched);
  Evidence evidence;
  evidence.bias = measure_bias(study, std::span(test.base.pairs).first(study.pairs.size()), options).scorings.front();
  evidence.sensitivity = prepared.sensitivity;
  const std::vector<DoseControl> doses = control_doses(source, searched, test, run.signs, options);
  for (const CandidateTest& candidate : test_candidates(study, searched, test, doses, run.signs, options)) {
    evidence.candidates.push_back(evidence_of(candidate, options.thresholds));
    run.shifts.push_back(candidate.primary());
    run.p_bh.push_back(candidate.p_bh);
  }
  evidence.bounds = bounds_of(searched, run.shifts, bounds, test_points(source, bounds, test, run.signs, options));
  for (const SearchCandidate& candidate : searched.candidates) run.candidates.push_back(candidate.intervention);
  run.validation_shift_pp = searched.rows[searched.candidates.front().row.value()].shift_pp;
  run.verdict = decide(evidence, options.thresholds);
  run.base = std::move(test.base);
  run.survivors = std::move(test.survivors);
  return run;
}

PreparedModel prepare_model(const ControlOptions& options, double angle, const DiagnosisOptions& diagnosis,
                            bool pipeline, const Progress& progress) {
  const TemporaryFolder folder;
  PreparedModel prepared;
  prepared.options = options;
  const ControlModel made = make_control_model(options, folder.path / "model");
  prepared.model = std::make_unique<SimulatedModel>(made);
  prepared.law = {made.world.noise_deviation, !made.world.made.biased, angle};

  const auto model = Model::open(folder.path / "model", Execution{});
  const auto tokenizer = Tokenizer::open(folder.path / "model");
  StudyFiles files;
  files.pairs = folder.path / "model/pairs.jsonl";
  files.utility = folder.path / "model/utility.jsonl";
  files.neutral = folder.path / "model/neutral.jsonl";
  const Study study = make_study(read_study(files), TextEncoder(*tokenizer), model->spec().max_positions,
                                 model->spec().vocab_size, diagnosis.seed);
  const Scorer scorer(*model, ScorerOptions{});
  const Progress quiet{nullptr, nullptr, progress.cancelled};
  Measurer measurer(scorer, study, nullptr, quiet);
  prepared.profile = profile_router(measurer);
  prepared.scores = score_experts(measurer, prepared.profile, diagnosis);
  prepared.sensitivity = measure_sensitivity(measurer, diagnosis).answer;
  if (!pipeline) return prepared;

  SimulatedSubject subject(*prepared.model, prepared.model->critical().own_noise(), diagnosis.seed, quiet);
  const std::vector<int> signs = fitted_signs(subject);
  ReachOptions reach = ReachOptions::of(StudyProfile::kSmall, diagnosis.seed);
  reach.choice_pairs = reach.choice_utility = reach.pairs_per_step;  // every replicate chooses anew
  prepared.trails = run_static_searches(measurer, search(subject, prepared.scores, prepared.profile, signs, diagnosis),
                                        prepared.profile, signs, reach, diagnosis);
  for (ReachTrail& trail : prepared.trails)
    for (ReachSnapshot& snapshot : trail.snapshots) {
      const Intervention* one = &snapshot.intervention;
      snapshot.dose_nats = subject.doses({&one, 1}, diagnosis.neutral_tokens).front().kl_nats;
    }
  DiagnosisOptions check = diagnosis;
  check.dose_controls = kCheckedControls;
  const PipelineRun computed = run_pipeline(measurer, prepared, check),
                    reduced = run_pipeline(subject, prepared, check);
  const Headline &a = computed.verdict.headline, &b = reduced.verdict.headline;
  prepared.engine.verdict = verdict_name(a.code, a.stage);
  prepared.engine.same_verdict =
      a.code == b.code && a.stage == b.stage && computed.survivors.size() == reduced.survivors.size();
  prepared.engine.largest_margin_difference = largest_difference(computed.base, reduced.base);
  for (size_t s = 0; s < std::min(computed.survivors.size(), reduced.survivors.size()); ++s)
    prepared.engine.largest_margin_difference = std::max(
        prepared.engine.largest_margin_difference, largest_difference(computed.survivors[s], reduced.survivors[s]));
  return prepared;
}

}  // namespace fare
