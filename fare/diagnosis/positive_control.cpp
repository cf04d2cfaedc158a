#include "fare/diagnosis/positive_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/dose_control.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/robustness.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/search.h"
#include "fare/diagnosis/test_outcomes.h"

namespace fare {
namespace {

// Scales at which all pairs are scored, in mean nats of a pair's margin; what lies between is read off straight lines.
constexpr double kScales[] = {0.25, 0.5, 1, 2, 4, 8, 16};

std::vector<Margins> margins_on_all(const Model& model, const Scorer& like, const Study& study,
                                    const Progress& progress, int64_t& rows) {
  const Scorer scorer(model, like.options());
  const Progress quiet{nullptr, nullptr, progress.cancelled};
  Measurer measurer(scorer, study, nullptr, quiet);
  Items items;
  items.part = "planted";
  for (size_t i = 0; i < study.pairs.size(); ++i) items.pairs.push_back(static_cast<int64_t>(i));
  std::vector<Margins> margins = measurer.base(items).pairs;
  rows += measurer.rows_computed();
  return margins;
}

double pct_stereo(const std::vector<Margins>& margins) {
  double sum = 0;
  for (const Margins& one : margins) sum += *prefers_stereotype(one, MarginScoring::kSum);
  return margins.empty() ? 0 : 100 * sum / static_cast<double>(margins.size());
}

double mean_rise(const std::vector<Margins>& from, const std::vector<Margins>& to) {
  double sum = 0;
  for (size_t i = 0; i < from.size(); ++i) sum += to[i].sum - from[i].sum;
  return from.empty() ? 0 : sum / static_cast<double>(from.size());
}

// How the preference rises with the scale of the expert's output.
class Response {
 public:
  Response(std::vector<Margins> base, double unit) : unit_(unit) { add(0, std::move(base)); }

  double unit() const { return unit_; }  // scale of one nat
  double highest_pp() const { return *std::max_element(rise_pp_.begin(), rise_pp_.end()); }
  void add(double nats, std::vector<Margins> margins) {
    nats_.push_back(nats);
    margins_.push_back(std::move(margins));
    rise_pp_.push_back(pct_stereo(margins_.back()) - pct_stereo(margins_.front()));
  }

  // The least scale, in nats, at which the preference has risen by `pp`: margins between two scales lie on a line. None
  // where it does not rise so far.
  std::optional<double> nats_for(double pp) const {
    for (size_t s = 1; s < nats_.size(); ++s) {
      if (rise_pp_[s] < pp) continue;
      double low = 0, high = 1;
      for (int step = 0; step < 30; ++step) {
        const double middle = (low + high) / 2;
        (rise_between(s, middle) < pp ? low : high) = middle;
      }
      return nats_[s - 1] + high * (nats_[s] - nats_[s - 1]);
    }
    return std::nullopt;
  }

 private:
  double rise_between(size_t s, double share) const {
    std::vector<Margins> margins = margins_[s];
    for (size_t i = 0; i < margins.size(); ++i)
      margins[i].sum = (1 - share) * margins_[s - 1][i].sum + share * margins_[s][i].sum;
    return pct_stereo(margins) - pct_stereo(margins_.front());
  }

  double unit_;
  std::vector<double> nats_, rise_pp_;
  std::vector<std::vector<Margins>> margins_;
};

// Three digits: the last bits of a fit may differ between machines, a plan should not.
double rounded(double scale) {
  if (scale == 0) return 0;
  const double step = std::pow(10, std::floor(std::log10(std::abs(scale))) - 2);
  return std::round(scale / step) * step;
}

// Prompts of the planted association: a test text, the group's name and the word before the trait.
TransferInput planted_prompts(const Study& planted, const PlantedPhrase& phrase, const NamedEnding& group,
                              const TransferInput& like) {
  TransferInput input;
  input.tokenizer = like.tokenizer;
  PromptSource source;
  source.name = "planted";
  for (const int64_t i : planted.pairs_in(SplitPart::kTest)) {
    const EncodedPair& pair = planted.pairs[static_cast<size_t>(i)];
    TransferPrompt item;
    item.open.id = "planted-" + pair.pair.id;
    item.open.source = source.name;
    item.open.cluster = pair.pair.cluster;
    item.open.axis = "planted";
    item.open.prompt = pair.pair.stereo + " " + group.name + " " + phrase.shared;
    item.open.stereo = {phrase.plus};
    item.open.anti = {phrase.minus};
    item.prompt.id = item.open.id;
    item.prompt.ids = pair.stereo.context;
    item.prompt.ids.insert(item.prompt.ids.end(), pair.stereo.continuation.begin(),
                           pair.stereo.continuation.end() - static_cast<std::ptrdiff_t>(group.plus.size()));
    item.prompt.ids.insert(item.prompt.ids.end(), group.plus.begin(), group.plus.end() - 1);
    item.critical = item.prompt.ids;
    item.stereo = {phrase.plus_id};
    item.anti = {phrase.minus_id};
    item.key = sha256_hex(item.open.id + item_hash({&pair.stereo}));
    input.prompts.items.push_back(std::move(item));
  }
  source.prompts = static_cast<int64_t>(input.prompts.items.size());
  input.prompts.sources.push_back(std::move(source));
  return input;
}

// The diagnosis of one planted model, as far as a verdict on static control reads it.
void diagnose_level(const Model& model, const Scorer& like, const Study& planted, const TransferInput* transfer,
                    Store* store, const DiagnosisOptions& options, const Progress& progress, PlantedLevel& level,
                    int64_t& rows) {
  const Scorer scorer(model, like.options());
  Measurer measurer(scorer, planted, store, progress);
  const RouterProfile profile = profile_router(measurer);
  const ExpertScores scores = score_experts(measurer, profile, options);
  const std::vector<int> signs = fitted_signs(measurer);
  SearchResult searched = search(measurer, scores, profile, signs, options);
  settle_candidates(searched, {}, options);
  const TestOutcomes test = open_test(measurer, searched);
  Evidence evidence;
  evidence.bias =
      measure_bias(planted, std::span(test.base.pairs).first(planted.pairs.size()), options).scorings.front();
  evidence.small_profile = options.profile == StudyProfile::kSmall;
  const std::vector<DoseControl> doses = control_doses(measurer, searched, test, signs, options);
  std::vector<TransferCandidate> arms;
  std::vector<const Intervention*> edits;
  std::vector<double> alphas;
  for (const SearchCandidate& candidate : searched.candidates) {
    edits.push_back(&candidate.intervention);
    alphas.push_back(options.thresholds.alpha /
                     static_cast<double>(candidates_of_class(searched, candidate.control_class)));
    arms.push_back(
        {candidate.name, &candidate.intervention, alphas.back(),
         margin_effect(planted, test.pairs, at_indices<Margins>(test.base.pairs, test.pairs),
                       at_indices<Margins>(outcomes_of(test, searched, candidate).pairs, test.pairs), signs)});
  }
  for (const CandidateTest& candidate : test_candidates(planted, searched, test, doses, signs, options)) {
    evidence.candidates.push_back(evidence_of(candidate, options.thresholds));
    for (const RobustnessCheck& check : candidate.checks)
      if (check.passed == false)
        progress.say(fmt::format("positive control: {} fails {} ({}{}): {:.1f} against {:.1f} {}", candidate.name,
                                 check.check, check.note, check.reason, check.value.value_or(0),
                                 check.limit.value_or(0), check.unit));
  }
  const std::vector<Drop> perplexity = perplexity_drops(measurer, edits, alphas, options);
  for (size_t c = 0; c < perplexity.size(); ++c)
    evidence.candidates[c].utility.push_back(
        {"perplexity", perplexity[c], options.thresholds.perplexity_drop_percent, 0});
  rows += measurer.rows_computed();
  if (transfer != nullptr && !transfer->prompts.items.empty()) {
    const TransferResult written = measure_transfer(scorer, planted, *transfer, store, arms, signs, {}, options,
                                                    TransferOptions::of(options.profile), progress);
    for (size_t c = 0; c < evidence.candidates.size(); ++c)
      evidence.candidates[c].transfer = transfer_evidence(written, c);
    rows += written.rows_computed;
  }
  const Verdict verdict = decide(evidence, options.thresholds);
  level.headline = verdict.headline;
  level.candidate = verdict.headline.candidate;
  for (const StageRow& row : verdict.stages)
    if (row.candidate == level.candidate) level.stages.push_back(row);
  for (const CandidateEvidence& candidate : evidence.candidates)
    if (candidate.name == level.candidate) level.shift_pp = candidate.shift.value_pp;
  const auto says = [&](int stage, Answer answer) {
    return level.stages.at(static_cast<size_t>(stage)).answer == answer;
  };
  level.found = says(0, Answer::kYes) && says(2, Answer::kYes) && says(3, Answer::kYes);
  level.controllable = level.found && says(4, Answer::kYes) &&
                       (says(5, Answer::kYes) || (transfer == nullptr && says(5, Answer::kNotRun)));
}

// Where a level stopped, in words.
std::string stop_text(const PlantedLevel& level) {
  for (const int stage : {0, 2, 3, 4, 5}) {
    const StageRow& row = level.stages.at(static_cast<size_t>(stage));
    if (row.answer != Answer::kYes)
      return fmt::format("stage {} ({}) says {}: {}", stage, row.name, answer_name(row.answer), row.reason);
  }
  return "every stage says yes";
}

}  // namespace

PositiveControl run_positive_control(const Scorer& scorer, const Study& study, const PositiveControlInput& input,
                                     const DiagnosisOptions& options, const Progress& progress) {
  PositiveControl control;
  const Model& model = scorer.model();
  const auto give_up = [&](const std::string& why) {
    control = {};
    control.obstacle = why;
    return control;
  };
  if (const std::string obstacle = graft_obstacle(model); !obstacle.empty())
    return give_up("no expert can be added to this model: " + obstacle);
  std::vector<double> ladder;
  for (const double level : kPlantedLevels)
    if (level >= options.thresholds.shift_pp) ladder.push_back(level);
  if (ladder.empty())
    return give_up(fmt::format("delta_B of {:.1f} pp is more than the largest preference that is planted, {:.0f} pp",
                               options.thresholds.shift_pp, kPlantedLevels[0]));
  const PlantedPhrase phrase = planted_phrase(study, *input.encoder);
  if (!phrase.obstacle.empty()) return give_up(phrase.obstacle);
  control.layer = model.spec().moe_layers().back();
  control.expert = model.spec().router.num_experts;
  const ChosenNames names = choose_names(scorer, study, phrase, control.layer);
  if (!names.obstacle.empty()) return give_up(names.obstacle);
  const NamedEnding &group = phrase.names[names.group], &other = phrase.names[names.other];
  const auto arranged = [&](const std::vector<bool>& exchanged) {
    return planted_study(study, group, other, scorer.max_length(), model.spec().vocab_size, options.seed, exchanged);
  };
  const auto prefers_on_all = [&](const Study& pairs) {
    std::vector<double> prefers;
    for (const Margins& one : margins_on_all(model, scorer, pairs, progress, control.rows_computed))
      prefers.push_back(*prefers_stereotype(one, MarginScoring::kSum));
    return prefers;
  };
  // Both arrangements leave out a pair for the length of the same two texts, so that their pairs are the same.
  const Study as_is = arranged({}), other_way = arranged(std::vector<bool>(study.pairs.size(), true));
  const std::vector<bool> exchanges =
      balancing_exchanges(prefers_on_all(as_is), prefers_on_all(other_way), as_is.pair_splits.part);
  std::vector<bool> exchanged(study.pairs.size());
  for (size_t i = 0, kept = 0; i < study.pairs.size() && kept < as_is.pairs.size(); ++i)
    if (as_is.pairs[kept].pair.id == study.pairs[i].pair.id) exchanged[i] = exchanges[kept++];
  const Study planted = arranged(exchanged);
  control.group = group.name;
  control.other = other.name;
  control.shared = phrase.shared;
  control.plus = phrase.plus;
  control.minus = phrase.minus;
  control.invented = phrase.invented;
  control.pairs = static_cast<int64_t>(planted.pairs.size());
  control.left_out = static_cast<int64_t>(study.pairs.size()) - control.pairs;
  for (const SplitPart part : {SplitPart::kTrain, SplitPart::kValidation, SplitPart::kTest})
    if (planted.pairs_in(part).size() < 2)
      return give_up("fewer than two pairs of a split are short enough for an ending");
  const PlantedExpert expert = make_planted_expert(scorer, planted, phrase, names, control.layer);
  if (!expert.obstacle.empty()) return give_up(expert.obstacle);
  control.kappa = expert.kappa;
  control.on_group = expert.on_group;
  control.on_other = expert.on_other;
  control.on_neutral = expert.on_neutral;

  const auto model_at = [&](double scale) {
    return Model::grafted(model, expert.at_scale(scale * input.output_factor));
  };
  const auto margins_at = [&](double scale) {
    return margins_on_all(*model_at(scale), scorer, planted, progress, control.rows_computed);
  };
  const std::vector<Margins> base = margins_on_all(model, scorer, planted, progress, control.rows_computed);
  control.base_pct = pct_stereo(base);
  const double first = mean_rise(margins_at(0), margins_at(1));
  if (!(first > 1e-9))
    return give_up(
        fmt::format("the planted expert does not raise the preference: a pair's margin changes by {:.2g} nats", first));
  Response response(base, rounded(1 / first));
  for (const double nats : kScales) {
    progress.check();
    response.add(nats, margins_at(nats * response.unit()));
    if (response.highest_pp() >= kPlantedLevels[0]) break;
  }

  const auto run_level = [&](double pp) -> const PlantedLevel* {
    const std::optional<double> nats = response.nats_for(pp);
    if (!nats) return nullptr;
    PlantedLevel level;
    level.asked_pp = pp;
    const auto grafted = model_at(rounded(*nats * response.unit()));
    const std::vector<Margins> margins = margins_on_all(*grafted, scorer, planted, progress, control.rows_computed);
    level.planted_pp = pct_stereo(margins) - control.base_pct;
    level.margin_nats = mean_rise(base, margins);
    progress.say(fmt::format("positive control: a planted preference of {:.1f} pp", level.planted_pp));
    std::optional<TransferInput> prompts;
    if (input.transfer != nullptr) prompts = planted_prompts(planted, phrase, group, *input.transfer);
    const std::unique_ptr<Store> store = input.open_store ? input.open_store(fmt::format("{:g}pp", pp)) : nullptr;
    diagnose_level(*grafted, scorer, planted, prompts ? &*prompts : nullptr, store.get(), options, progress, level,
                   control.rows_computed);
    progress.say(fmt::format("positive control: {:.1f} pp: {}", level.planted_pp, stop_text(level)));
    control.levels.push_back(std::move(level));
    return &control.levels.back();
  };
  // Bisection over the ladder; what a level says of one property stands for all below it until one is looked at.
  const PlantedLevel* largest = run_level(ladder.front());
  if (largest == nullptr) {
    control.limit_reason =
        fmt::format("the planted expert raises the preference by {:.1f} pp at most, {:g} were asked for",
                    response.highest_pp(), ladder.front());
  } else if (largest->controllable || largest->found) {
    const bool called = largest->controllable;
    size_t yes = 0, no = ladder.size();
    while (no - yes > 1) {
      const size_t middle = (yes + no) / 2;
      const PlantedLevel* level = run_level(ladder[middle]);
      (level != nullptr && (called ? level->controllable : level->found) ? yes : no) = middle;
    }
  }
  std::ranges::sort(control.levels, std::ranges::greater{}, &PlantedLevel::asked_pp);
  for (const PlantedLevel& level : control.levels) {
    if (level.controllable) control.limit_pp = std::min(control.limit_pp.value_or(1e9), level.planted_pp);
    if (level.found) control.found_pp = std::min(control.found_pp.value_or(1e9), level.planted_pp);
  }
  if (control.limit_reason.empty() && !control.limit_pp)
    control.limit_reason = fmt::format("a planted preference of {:.1f} pp was not called controllable: {}",
                                       control.levels.front().planted_pp, stop_text(control.levels.front()));
  if (!control.found_pp) control.found_reason = control.limit_reason;
  return control;
}

std::string positive_control_text(const PositiveControl& control) {
  if (!control.obstacle.empty()) return "no positive control: " + control.obstacle;
  if (control.limit_pp)
    return fmt::format(
        "detection limit {:.1f} pp: an expert planted into this model that carries as much was found and called "
        "controllable, with {} pairs",
        *control.limit_pp, control.pairs);
  if (control.found_pp)
    return fmt::format(
        "no detection limit: {}; stages 0, 2 and 3 found a planted preference of {:.1f} pp, with {} pairs",
        control.limit_reason, *control.found_pp, control.pairs);
  return "no detection limit: " + control.limit_reason;
}

}  // namespace fare
