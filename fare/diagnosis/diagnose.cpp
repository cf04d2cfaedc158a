#include "fare/diagnosis/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/masking.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/search.h"
#include "fare/diagnosis/self_checks.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/diagnosis/subject.h"
#include "fare/diagnosis/test_outcomes.h"
#include "fare/diagnosis/verdict.h"

namespace fare {
namespace {

// Seconds and passes over the data of each part, for "runtime".
class Parts {
 public:
  Parts(const Measurer& measurer, const Progress& progress) : measurer_(measurer), progress_(progress) {}

  void begin(const std::string& name) {
    end();
    name_ = name;
    start_ = std::chrono::steady_clock::now();
    rows_ = measurer_.rows_computed();
    progress_.say("diagnosis: " + name);
  }
  void end() {
    if (name_.empty()) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    parts_.push_back({{"part", name_}, {"seconds", seconds}, {"forwards", forwards(measurer_.rows_computed() - rows_)}});
    name_.clear();
  }
  // Rows times layers, in passes over all pairs and utility items without any sharing.
  double forwards(int64_t rows) const {
    double one_pass = 0;
    const Study& study = measurer_.study();
    const auto add = [&](const Request& request) {
      one_pass += static_cast<double>(request.context.size() + request.continuation.size()) - 1;
    };
    for (const EncodedPair& pair : study.pairs) add(pair.stereo), add(pair.anti);
    for (const EncodedUtility& item : study.utility)
      for (const Request& choice : item.choices) add(choice);
    one_pass *= static_cast<double>(measurer_.scorer().model().spec().num_layers);
    return one_pass > 0 ? static_cast<double>(rows) / one_pass : 0;
  }
  const OrderedJson& json() const { return parts_; }

 private:
  const Measurer& measurer_;
  const Progress& progress_;
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  int64_t rows_ = 0;
  OrderedJson parts_ = OrderedJson::array();
};

std::vector<std::string> headline_notes(const DiagnosisOptions& options, const Study& study, const Evidence& evidence,
                                        const std::vector<SelfCheck>& checks) {
  std::vector<std::string> notes;
  if (options.profile == StudyProfile::kSmall)
    notes.push_back(fmt::format("small profile: {} configurations, {} masking draws, {} dose controls",
                                options.families.size() * options.scores.size() * options.breadths.size() *
                                    options.strengths.size() * options.layer_sets.size() * 2,
                                options.mask_draws, options.dose_controls));
  if (!evidence.bounds.contains("static"))
    notes.push_back("the upper bounds on static control (methods A6) were not searched: stage 2 never says no");
  for (const Study::SourceFile& file : study.files)
    if (file.skipped > 0) notes.push_back(fmt::format("{}: {} items were skipped ({})", file.name, file.skipped, file.note));
  for (const SelfCheck& check : checks)
    if (!check.passed && !check.required) notes.push_back("advisory self-check failed: " + check.name);
  notes.push_back("the scores measure preference between given sentences, not harm; 50% is not fairness");
  return notes;
}

// Writes thresholds.json, or checks that the one that is there says the same.
void settle_thresholds(const std::filesystem::path& file, const std::string& text) {
  if (std::filesystem::exists(file)) {
    if (read_file(file) != text)
      throw ModelMismatch(file.string() + ": the test split of this run was opened under other thresholds, splits or "
                          "candidates than those of this command; use another --out, or the same settings");
    return;
  }
  write_file(file, text);
}

}  // namespace

Diagnosis diagnose(const Scorer& scorer, const Study& study, Store* store, const std::filesystem::path& folder,
                   const DiagnosisOptions& options, const RunInfo& info, const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  Measurer measurer(scorer, study, store, progress);
  Parts parts(measurer, progress);
  Diagnosis diagnosis;

  parts.begin("self-checks");
  std::vector<SelfCheck> checks = run_self_checks(measurer, options);

  parts.begin("sensitivity");
  const Sensitivity sensitivity = measure_sensitivity(measurer, options);
  checks.push_back({.name = "causal zero", .passed = sensitivity.causal_zero_max <= 1e-9,
                    .value = sensitivity.causal_zero_max, .limit = 1e-9, .unit = "bit", .required = true});
  for (const SelfCheck& check : checks) {
    if (check.passed) continue;
    const std::string text = fmt::format("self-check '{}' failed: {} against a limit of {} {} {}", check.name, check.value,
                                         check.limit, check.unit, check.reason);
    (check.required ? diagnosis.failures : diagnosis.warnings).push_back(text);
  }
  if (!diagnosis.failures.empty()) return diagnosis;

  parts.begin("router profile");
  const RouterProfile profile = profile_router(measurer);
  parts.begin("expert scores");
  const ExpertScores scores = score_experts(measurer, profile, options);

  // Signs of the axes are fixed on train and validation.
  parts.begin("search");
  Items fit;
  fit.part = "fit";
  fit.pairs = study.pairs_in(SplitPart::kTrain);
  const auto validation = study.pairs_in(SplitPart::kValidation);
  fit.pairs.insert(fit.pairs.end(), validation.begin(), validation.end());
  std::sort(fit.pairs.begin(), fit.pairs.end());
  const std::vector<int> signs = axis_signs(study, fit.pairs, measurer.base(fit).pairs);
  SearchResult searched = search(measurer, scores, profile, signs, options);

  // Searches beyond the grid bring candidates of every class, and the points that bound what a class can do.
  std::optional<UpperBounds> bounds;
  settle_candidates(searched, bounds ? bounds->candidates : std::vector<SearchCandidate>{}, options);

  // Everything that decides is written down before a test item is looked at.
  const int64_t num_candidates = static_cast<int64_t>(searched.candidates.size());
  const std::vector<TestFamily> families = {
      {"primary", num_candidates, fmt::format("1 model x 1 pair set x {} candidates", num_candidates)},
      {"second", static_cast<int64_t>(sensitivity.rows.size()), "sensitivity: layers x axes x spans x nulls"}};
  OrderedJson fixed = OrderedJson::array();
  for (const SearchCandidate& candidate : searched.candidates)
    fixed.push_back({{"name", candidate.name}, {"control_class", candidate.control_class}, {"role", candidate.role},
                     {"edits_sha256", intervention_key(&candidate.intervention)}});
  std::vector<Need> needs;
  for (const SearchCandidate& candidate : searched.candidates)
    needs.push_back({"utility items for stage 4 of '" + candidate.name + "' to say yes", candidate.needed_items,
                     static_cast<int64_t>(study.utility_in(SplitPart::kTest).size())});
  for (const Need& need : needs)
    progress.say(fmt::format("before the test split is opened: {}: {} needed, {} there", need.what, need.needed, need.have));
  const std::string thresholds = thresholds_text(options, study, families, fixed);
  if (!folder.empty()) {
    std::filesystem::create_directories(folder / "interventions");
    for (const SearchCandidate& candidate : searched.candidates)
      write_file(folder / "interventions" / (candidate.name + ".json"), candidate.intervention.to_json().dump(2) + "\n");
    settle_thresholds(folder / "thresholds.json", thresholds);
  }

  parts.begin("test split");
  const TestOutcomes test = open_test(measurer, searched);
  const BaseBias bias = measure_bias(study, std::span(test.base.pairs).first(study.pairs.size()), options);
  FARE_CHECK(bias.signs == signs, "axis signs changed between search and test");
  Evidence evidence;
  evidence.bias = bias.scorings.front();
  evidence.sensitivity = sensitivity.answer;
  evidence.small_profile = options.profile == StudyProfile::kSmall;
  parts.begin("dose control");
  const std::vector<DoseControl> doses = control_doses(measurer, searched, test, signs, options);
  parts.begin("robustness");
  const std::vector<CandidateTest> tested = test_candidates(study, searched, test, doses, signs, options);
  std::vector<Shift> test_shifts;
  std::vector<double> test_shift_values;
  for (const CandidateTest& candidate : tested) {
    evidence.candidates.push_back(evidence_of(candidate, options.thresholds));
    test_shifts.push_back(candidate.primary());
    test_shift_values.push_back(candidate.primary().value_pp);
  }
  const std::vector<Shift> point_shifts = bounds ? test_points(measurer, *bounds, test, signs, options) : std::vector<Shift>{};
  if (bounds) evidence.bounds = bounds_of(searched, test_shifts, *bounds, point_shifts);
  parts.begin("masking");
  const Masking masking = mask_groups(measurer, scores, profile, test, signs, options);
  parts.end();

  if (!folder.empty() && read_file(folder / "thresholds.json") != thresholds)
    throw ModelMismatch((folder / "thresholds.json").string() + ": changed while the test split was open");
  const Verdict verdict = decide(evidence, options.thresholds);

  OrderedJson& report = diagnosis.report;
  report["format"] = "fare-report/1";
  report["headline"] = headline_json(verdict.headline, evidence, options.thresholds,
                                     headline_notes(options, study, evidence, checks));
  report["verdicts"] = verdicts_json(verdict);
  report["model"] = model_json(scorer.model());
  report["data"] = data_json(study, sensitivity, info.limit);
  report["thresholds"] = thresholds_json(options, thresholds, families, needs);
  report["splits"] = splits_json(study, options.seed);
  report["self_checks"] = self_checks_json(checks);
  put_null(report, "calibration", "error rates on control models are not part of this build");
  report["bias"] = bias_json(study, bias);
  const CandidateEvidence* winner = nullptr;
  for (const CandidateEvidence& candidate : evidence.candidates)
    if (candidate.name == verdict.headline.candidate) winner = &candidate;
  report["bias"]["discordant_share"] = winner->shift.discordance;
  report["candidates"] = candidates_json(searched);
  report["stages"] = OrderedJson::array();
  for (const StageRow& row : verdict.stages) report["stages"].push_back(stage_json(row));
  report["effects"] = effects_json(tested, options.thresholds);
  report["per_axis"] = per_axis_json(study, tested);
  report["robustness"] = robustness_json(tested);
  report["dose_control"] = dose_control_json(doses);
  report["sensitivity"] = sensitivity_json(sensitivity);
  report["router_profile"] = router_profile_json(profile);
  report["experts"] = experts_json(scores);
  report["expert_scores"] = expert_scores_json(scores);
  report["search"] = search_json(searched, test_shift_values);
  report["reach"] = reach_json(searched, test_shifts, bounds ? &*bounds : nullptr, point_shifts);
  report["masking"] = masking_json(masking);
  put_null(report, "conditions", "the architectural conditions (methods A9) are not part of this build");
  put_null(report, "generation", "generation transfer (methods A11) is not part of this build");
  report["profile"] = options.profile == StudyProfile::kSmall ? "small" : "full";
  OrderedJson runtime;
  runtime["command"] = info.command;
  runtime["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  runtime["forwards"] = parts.forwards(measurer.rows_computed());
  runtime["device"] = info.device;
  runtime["dtype"] = info.dtype;
  runtime["backend"] = info.backend;
  runtime["threads"] = info.threads;
  runtime["seed"] = options.seed;
  runtime["parts"] = parts.json();
  runtime["versions"] = info.versions;
  runtime["commit"] = info.commit;
  report["runtime"] = std::move(runtime);
  return diagnosis;
}

}  // namespace fare
