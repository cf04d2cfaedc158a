#include "fare/calibration/prepared_model.h"

#include <algorithm>
#include <cmath>

#include "fare/calibration/temporary_folder.h"
#include "fare/core/error.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/measure.h"
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

double largest_difference(const Outcomes& a, const Outcomes& b) {
  FARE_CHECK(a.pairs.size() == b.pairs.size(), "two runs measured other pairs");
  double largest = 0;
  for (size_t i = 0; i < a.pairs.size(); ++i) largest = std::max(largest, std::abs(a.pairs[i].sum - b.pairs[i].sum));
  return largest;
}

}  // namespace

std::string verdict_name(const std::string& code, std::optional<int64_t> stage) {
  return code == "unresolved" && stage ? "unresolved at stage " + std::to_string(*stage) : code;
}

DiagnosisOptions pipeline_options(int64_t pairs, uint64_t seed, int64_t replicates) {
  DiagnosisOptions options;
  options.seed = seed;
  options.num_threads = 1;
  options.bootstrap_replicates = replicates;
  options.permutations = replicates;
  options.dose_controls = 20;
  options.causal_pairs = 16;
  options.half_samples = 10;
  if (pairs >= kManyPairs) options.thresholds.shift_pp = 2.5;
  return options;
}

PipelineRun run_pipeline(OutcomeSource& source, const PreparedModel& prepared, const DiagnosisOptions& options) {
  const Study& study = source.study();
  Items fit;
  fit.part = "fit";
  for (size_t i = 0; i < study.pairs.size(); ++i)
    if (study.pair_splits.part[i] != SplitPart::kTest) fit.pairs.push_back(static_cast<int64_t>(i));
  PipelineRun run;
  run.signs = axis_signs(study, fit.pairs, source.base(fit).pairs);
  const SearchResult searched = search(source, prepared.scores, prepared.profile, run.signs, options);
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
  for (const SearchCandidate& candidate : searched.candidates) run.candidates.push_back(candidate.intervention);
  run.validation_shift_pp = searched.rows[searched.candidates.front().row.value()].shift_pp;
  run.verdict = decide(evidence, options.thresholds);
  run.base = std::move(test.base);
  run.survivors = std::move(test.survivors);
  return run;
}

PreparedModel prepare_model(const ControlOptions& options, double angle, const DiagnosisOptions& diagnosis, bool check_engine,
                            const Progress& progress) {
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
  if (!check_engine) return prepared;

  SimulatedSubject subject(*prepared.model, prepared.model->critical().own_noise(), diagnosis.seed, quiet);
  const PipelineRun computed = run_pipeline(measurer, prepared, diagnosis), reduced = run_pipeline(subject, prepared, diagnosis);
  const Headline &a = computed.verdict.headline, &b = reduced.verdict.headline;
  prepared.engine.verdict = verdict_name(a.code, a.stage);
  prepared.engine.same_verdict = a.code == b.code && a.stage == b.stage && computed.survivors.size() == reduced.survivors.size();
  prepared.engine.largest_margin_difference = largest_difference(computed.base, reduced.base);
  for (size_t s = 0; s < std::min(computed.survivors.size(), reduced.survivors.size()); ++s)
    prepared.engine.largest_margin_difference = std::max(
        prepared.engine.largest_margin_difference, largest_difference(computed.survivors[s], reduced.survivors[s]));
  return prepared;
}

}  // namespace fare
