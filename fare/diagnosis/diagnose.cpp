#include "fare/diagnosis/diagnose.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/diagnosis/baselines.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/conditions.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/margin_spread.h"
#include "fare/diagnosis/masking.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/plan.h"
#include "fare/diagnosis/reach.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/route_examples.h"
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
  Parts(const Measurer& measurer, const Progress& progress, const DiagnosisOptions& options)
      : measurer_(measurer),
        progress_(progress),
        planned_(planned_parts(measurer.model(), measurer.study(), options)) {}

  void begin(const std::string& name) {
    end();
    name_ = name;
    start_ = std::chrono::steady_clock::now();
    rows_ = rows();
    progress_.say("diagnosis: " + name + time_left());
  }
  void end() {
    if (name_.empty()) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    parts_.push_back({{"part", name_}, {"seconds", seconds}, {"forwards", forwards(rows() - rows_)}});
    for (PlannedPart& part : planned_)
      if (part.part == name_) part.seconds = std::max(seconds, 1e-3);
    name_.clear();
  }
  // Where the time went, in one sentence.
  std::string summary() const {
    double total = 0;
    std::string text;
    for (const OrderedJson& part : parts_) {
      total += part.at("seconds").get<double>();
      text += fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", part.at("part").get<std::string>(),
                          part.at("seconds").get<double>());
    }
    return fmt::format("diagnosis: {:.1f} s: {}", total, text);
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
  // Rows times layers that something else than the measurer computed.
  void add(int64_t rows) { others_ += rows; }
  int64_t rows() const { return measurer_.rows_computed() + others_; }

 private:
  // Of the whole run, from the plan's tokens and the rate of the parts that are done; empty before one of them is.
  std::string time_left() const {
    double seconds = 0, done = 0, waiting = 0;
    for (const PlannedPart& part : planned_) {
      const double tokens = part.plain_tokens + kEditedShare * part.edited_tokens;
      if (part.seconds > 0) done += tokens, seconds += part.seconds;
      else waiting += tokens;
    }
    if (done <= 0 || waiting <= 0) return "";
    const double left = seconds / done * waiting;
    return left < 90 ? fmt::format(" (about {:.0f} s left)", left) : fmt::format(" (about {:.0f} min left)", left / 60);
  }

  // What a token costs under an edit, against a plain one: rows that do not change are not computed again.
  static constexpr double kEditedShare = 0.4;
  const Measurer& measurer_;
  const Progress& progress_;
  std::vector<PlannedPart> planned_;  // seconds: of those that are done
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  int64_t rows_ = 0, others_ = 0;
  OrderedJson parts_ = OrderedJson::array();
};

std::vector<std::string> headline_notes(const DiagnosisOptions& options, const Study& study, const Evidence& evidence,
                                        const std::vector<SelfCheck>& checks, const TransferResult* written,
                                        const std::vector<std::string>& openings) {
  std::vector<std::string> notes = openings;
  if (options.profile == StudyProfile::kSmall)
    notes.push_back(fmt::format("small profile: {} configurations, {} masking draws, {} dose controls",
                                options.families.size() * options.scores.size() * options.breadths.size() *
                                    options.strengths.size() * options.layer_sets.size() * 2,
                                options.mask_draws, options.dose_controls));
  if (!evidence.bounds.contains("static"))
    notes.push_back("the upper bounds on static control (methods A6) were not searched: stage 2 never says no");
  if (written != nullptr && options.profile == StudyProfile::kSmall)
    notes.push_back(
        fmt::format("small profile: texts of {} prompts, of at most {} tokens, {} where the first content word is read",
                    written->num_written(), written->options.tokens, written->options.first_tokens));
  for (const Study::SourceFile& file : study.files)
    if (file.skipped > 0)
      notes.push_back(fmt::format("{}: {} items were skipped ({})", file.name, file.skipped, file.note));
  for (const SelfCheck& check : checks)
    if (!check.passed && !check.required) notes.push_back("advisory self-check failed: " + check.name);
  notes.push_back("the scores measure preference between given sentences, not harm; 50% is not fairness");
  return notes;
}

}  // namespace

Diagnosis diagnose(const Scorer& scorer, const Study& study, Store* store, const std::filesystem::path& folder,
                   const DiagnosisOptions& options, const RunInfo& info, const Progress& progress,
                   const TransferInput* transfer, const PositiveControlInput* planted) {
  const auto start = std::chrono::steady_clock::now();
  Measurer measurer(scorer, study, store, progress);
  Parts parts(measurer, progress, options);
  Diagnosis diagnosis;

  parts.begin("self-checks");
  std::vector<SelfCheck> checks = run_self_checks(measurer, options);

  parts.begin("sensitivity");
  const Sensitivity sensitivity = measure_sensitivity(measurer, options);
  checks.push_back({.name = "causal zero",
                    .passed = sensitivity.causal_zero_max <= 1e-9,
                    .value = sensitivity.causal_zero_max,
                    .limit = 1e-9,
                    .unit = "bit",
                    .required = true});
  for (const SelfCheck& check : checks) {
    if (check.passed) continue;
    const std::string text = fmt::format("self-check '{}' failed: {} against a limit of {} {} {}", check.name,
                                         check.value, check.limit, check.unit, check.reason);
    (check.required ? diagnosis.failures : diagnosis.warnings).push_back(text);
  }
  if (!diagnosis.failures.empty()) return diagnosis;
  const std::vector<MarginSpread> spreads = measure_margin_spread(measurer);

  parts.begin("router profile");
  const RouterProfile profile = profile_router(measurer);
  parts.begin("expert scores");
  const ExpertScores scores = score_experts(measurer, profile, options);

  parts.begin("search");
  const std::vector<int> signs = fitted_signs(measurer);
  SearchResult searched = search(measurer, scores, profile, signs, options);

  // Searches beyond the grid bring candidates of every class, and the points that bound what a class can do.
  parts.begin("upper bounds");
  const ReachOptions reach_options = ReachOptions::of(options.profile, options.seed);
  const Reach reach = search_reach(measurer, searched, profile, signs, reach_options, options);
  settle_candidates(searched, reach.bounds.candidates, options);

  // Everything that decides is written down before a test item is looked at.
  const int64_t num_candidates = static_cast<int64_t>(searched.candidates.size());
  std::vector<TestFamily> families = {
      {"primary", num_candidates, fmt::format("1 model x 1 pair set x {} candidates", num_candidates)},
      {"second", static_cast<int64_t>(sensitivity.rows.size()), "sensitivity: layers x axes x spans x nulls"}};
  if (transfer != nullptr)
    if (const auto planned = planned_metrics(*transfer); !planned.empty())
      families.push_back({"generation", static_cast<int64_t>(planned.size()),
                          fmt::format("each candidate's primary generation metrics: {}", fmt::join(planned, ", "))});
  OrderedJson fixed = OrderedJson::array();
  for (const SearchCandidate& candidate : searched.candidates)
    fixed.push_back({{"name", candidate.name},
                     {"control_class", candidate.control_class},
                     {"role", candidate.role},
                     {"edits_sha256", intervention_key(&candidate.intervention)}});
  std::vector<Need> needs;
  for (const SearchCandidate& candidate : searched.candidates)
    needs.push_back({"utility items for stage 4 of '" + candidate.name + "' to say yes", candidate.needed_items,
                     static_cast<int64_t>(study.utility_in(SplitPart::kTest).size())});
  for (const Need& need : needs)
    progress.say(
        fmt::format("before the test split is opened: {}: {} needed, {} there", need.what, need.needed, need.have));
  const std::string thresholds =
      thresholds_text(options, study, scorer.model().routed().fingerprint(), families, fixed);
  std::vector<std::string> openings;
  if (!folder.empty()) {
    std::filesystem::create_directories(folder / "interventions");
    for (const SearchCandidate& candidate : searched.candidates)
      write_file(folder / "interventions" / (candidate.name + ".json"),
                 candidate.intervention.to_json().dump(2) + "\n");
    openings = settle_opening(folder, thresholds);
    for (const std::string& opening : openings) progress.say(opening);
  }

  parts.begin("test split");
  const TestOutcomes test = open_test(measurer, searched);
  const BaseBias bias = measure_bias(study, std::span(test.base.pairs).first(study.pairs.size()), options);
  FARE_CHECK(bias.signs == signs, "axis signs changed between search and test");
  Evidence evidence;
  evidence.bias = bias.scorings.front();
  evidence.sensitivity = sensitivity.answer;
  evidence.small_profile = options.profile == StudyProfile::kSmall;
  if (!study.utility.empty() && test.utility.empty())
    evidence.no_utility =
        fmt::format("the test split holds no utility item: train and validation take all {} clusters of the {} items",
                    study.utility_clusters.num_clusters, study.utility.size());
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
  std::vector<const Intervention*> edits;
  std::vector<double> alphas;
  for (const SearchCandidate& candidate : searched.candidates) {
    edits.push_back(&candidate.intervention);
    alphas.push_back(options.thresholds.alpha /
                     static_cast<double>(candidates_of_class(searched, candidate.control_class)));
  }
  const std::vector<Drop> perplexity = perplexity_drops(measurer, edits, alphas, options);
  for (size_t c = 0; c < perplexity.size(); ++c)
    evidence.candidates[c].utility.push_back(
        {"perplexity", perplexity[c], options.thresholds.perplexity_drop_percent, 0});
  parts.begin("upper bounds on test");
  const std::vector<Shift> point_shifts = test_points(measurer, reach.bounds, test, signs, options);
  evidence.bounds = bounds_of(searched, test_shifts, reach.bounds, point_shifts);
  const OracleCurve oracle_test = measure_oracle(measurer, test.pairs, signs, reach_options, options, "test");
  std::optional<TransferResult> written;
  if (transfer != nullptr && !transfer->prompts.items.empty()) {
    parts.begin("generation");
    std::vector<TransferCandidate> arms;
    for (const SearchCandidate& candidate : searched.candidates)
      arms.push_back(
          {candidate.name, &candidate.intervention,
           options.thresholds.alpha / static_cast<double>(candidates_of_class(searched, candidate.control_class)),
           margin_effect(study, test.pairs, at_indices<Margins>(test.base.pairs, test.pairs),
                         at_indices<Margins>(outcomes_of(test, searched, candidate).pairs, test.pairs), signs)});
    written = measure_transfer(scorer, study, *transfer, store, arms, signs, folder, options,
                               TransferOptions::of(options.profile), progress);
    parts.add(written->rows_computed);
  }
  const std::string not_written = transfer == nullptr ? "no prompts to be continued were given (--generation)"
                                                      : unusable_prompts(transfer->prompts);
  for (size_t c = 0; c < evidence.candidates.size(); ++c) {
    if (written) evidence.candidates[c].transfer = transfer_evidence(*written, c);
    else evidence.candidates[c].transfer_reason = not_written;
  }
  parts.begin("masking");
  const Masking masking =
      mask_groups(measurer, scores, score_knowledge(measurer, options), profile, test, signs, options);
  parts.begin("conditions");
  const MaskGroup* masked = masking.find("T");
  const Conditions conditions = measure_conditions(
      measurer, searched, scores, profile, masked != nullptr ? masked->draws[0].experts : std::vector<RoutedExpert>{},
      test, signs, options);
  parts.end();

  std::optional<PositiveControl> control;
  if (planted != nullptr) {
    parts.begin("positive control");
    PositiveControlInput input = *planted;
    input.transfer = transfer;
    control = run_positive_control(scorer, study, input, options, progress);
    evidence.planted_pp = control->found_pp;
    parts.add(control->rows_computed);
    parts.end();
  }

  if (!folder.empty() && read_file(folder / "thresholds.json") != thresholds)
    throw ModelMismatch((folder / "thresholds.json").string() + ": changed while the test split was open");
  const Verdict verdict = decide(evidence, options.thresholds);

  parts.begin("baseline without routing");
  const auto headlined =
      std::find_if(searched.candidates.begin(), searched.candidates.end(),
                   [&](const SearchCandidate& one) { return one.name == verdict.headline.candidate; });
  const RouteExamples examples =
      route_examples(measurer, *headlined, test, outcomes_of(test, searched, *headlined), signs);
  const std::vector<Baseline> baselines = measure_baselines(measurer, store, *headlined, test, signs, options);
  parts.end();
  progress.say(parts.summary());

  OrderedJson& report = diagnosis.report;
  report["format"] = "fare-report/1";
  report["headline"] =
      headline_json(verdict.headline, evidence, options.thresholds,
                    headline_notes(options, study, evidence, checks, written ? &*written : nullptr, openings));
  const std::string no_control = "no positive control was asked for (--positive-control)";
  put_field(report["headline"], "detection_limit_pp", control ? control->limit_pp : std::nullopt,
            !control                    ? no_control
            : control->obstacle.empty() ? control->limit_reason
                                        : control->obstacle);
  report["verdicts"] = verdicts_json(verdict);
  report["model"] = model_json(scorer.model());
  report["data"] = data_json(study, sensitivity, info.limit);
  report["thresholds"] = thresholds_json(options, thresholds, families, needs);
  report["splits"] = splits_json(study, options.seed);
  report["self_checks"] = self_checks_json(checks);
  put_null(report, "calibration", "error rates on control models are not part of this build");
  report["bias"] = bias_json(study, bias);
  report["bias"]["margins"] = margin_spread_json(spreads);
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
  report["baselines"] = baselines_json(baselines);
  report["sensitivity"] = sensitivity_json(sensitivity);
  report["router_profile"] = router_profile_json(profile);
  report["experts"] = experts_json(scores);
  report["expert_scores"] = expert_scores_json(scores);
  report["search"] = search_json(searched, test_shift_values, study.axes);
  report["reach"] = reach_json(searched, test_shifts, reach, point_shifts, oracle_test, options.thresholds);
  report["masking"] = masking_json(masking);
  report["conditions"] = conditions_json(conditions);
  put_route_examples(report, examples, study, info.spelling);
  if (written) report["generation"] = transfer_json(*written);
  else put_null(report, "generation", not_written);
  if (control) report["positive_control"] = positive_control_json(*control);
  else put_null(report, "positive_control", no_control);
  report["profile"] = options.profile == StudyProfile::kSmall ? "small" : "full";
  OrderedJson runtime;
  runtime["command"] = info.command;
  runtime["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  runtime["forwards"] = parts.forwards(parts.rows());
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
