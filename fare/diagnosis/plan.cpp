#include "fare/diagnosis/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "fare/core/memory.h"
#include "fare/diagnosis/candidates.h"
#include "fare/diagnosis/reach_searches.h"

namespace fare {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double fed(const Request& request) {
  return static_cast<double>(request.context.size() + request.continuation.size()) - 1;
}

double fed_pairs(const Study& study, const std::vector<int64_t>& pairs) {
  double tokens = 0;
  for (const int64_t i : pairs) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(i)];
    tokens += fed(pair.stereo) + fed(pair.anti);
  }
  return tokens;
}

double fed_utility(const Study& study, const std::vector<int64_t>& items) {
  double tokens = 0;
  for (const int64_t i : items)
    for (const Request& choice : study.utility[static_cast<size_t>(i)].choices) tokens += fed(choice);
  return tokens;
}

// Peak resident memory of this process so far; 0 where the system does not say.
int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kib = 0;
  while (status >> word)
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  return 0;
}

// Random edits of every layer, as many experts as the grid's middle breadth.
std::vector<Intervention> probe_edits(const RoutedModel& model, const DiagnosisOptions& options, int count) {
  std::vector<Intervention> edits;
  Configuration configuration;
  configuration.k = std::min<int64_t>(
      options.breadths[options.breadths.size() / 2],
      std::max<int64_t>(1, static_cast<int64_t>(model.moe_layers.size()) * model.router.num_experts / 2));
  const std::vector<ChosenExpert> shape(static_cast<size_t>(configuration.k), {0, 0, 1.0});
  for (int draw = 0; draw < count; ++draw) {
    Intervention edit;
    for (const ChosenExpert& expert : random_direction(configuration, shape, model, false, options.seed, draw)) {
      AddLogit op;
      op.experts = {expert.expert};
      op.values = {-expert.score};
      op.affects = AddLogit::Affects::kSelectionAndWeight;
      op.keep_sum = true;
      edit.edits.push_back({std::move(op), {expert.layer}, {}});
    }
    edits.push_back(std::move(edit));
  }
  return edits;
}

}  // namespace

std::vector<PlannedPart> planned_parts(const RoutedModel& model, const Study& study, const DiagnosisOptions& options) {
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain),
                             validation = study.pairs_in(SplitPart::kValidation),
                             test = study.pairs_in(SplitPart::kTest),
                             utility_train = study.utility_in(SplitPart::kTrain),
                             utility_validation = study.utility_in(SplitPart::kValidation),
                             utility_test = study.utility_in(SplitPart::kTest);
  const double pairs_train = fed_pairs(study, train), pairs_validation = fed_pairs(study, validation),
               pairs_test = fed_pairs(study, test), utility_v = fed_utility(study, utility_validation),
               utility_t = fed_utility(study, utility_test);
  double everything =
      pairs_train + pairs_validation + pairs_test + fed_utility(study, utility_train) + utility_v + utility_t;
  for (const EncodedPair& pair : study.transfer) everything += fed(pair.stereo) + fed(pair.anti);
  double nulls = 0;
  int64_t num_nulls = 0;  // those of the train split are read
  for (size_t i = 0; i < study.nulls.size(); ++i) {
    const int64_t of = study.null_of[i];
    if (of >= 0 && study.pair_splits.part[static_cast<size_t>(of)] != SplitPart::kTrain) continue;
    nulls += fed(study.nulls[i].stereo) + fed(study.nulls[i].anti);
    ++num_nulls;
  }
  const double neutral = static_cast<double>(std::min(study.neutral_tokens, options.neutral_tokens));
  const auto share = [](int64_t asked, size_t there) {
    return there == 0 ? 0.0 : std::min(1.0, static_cast<double>(asked) / static_cast<double>(there));
  };
  std::vector<PlannedPart> parts;
  const auto add = [&](std::string part, std::string what, double plain, double edited) {
    parts.push_back(
        {std::move(part), std::move(what), plain, edited, everything > 0 ? (plain + edited) / everything : 0, 0});
  };
  add("sensitivity", fmt::format("{} pairs of train, {} null pairs", train.size(), num_nulls), pairs_train + nulls, 0);
  add("router profile", fmt::format("{} neutral tokens", std::min<int64_t>(study.neutral_tokens, 200000)),
      static_cast<double>(std::min<int64_t>(study.neutral_tokens, 200000)), 0);
  // One backward costs about two forwards more; s5 ablates the top 50 of four scores and 100 random experts, or all
  // there are.
  const int64_t experts = model.router.num_experts * static_cast<int64_t>(model.moe_layers.size());
  const double causal = options.causal_pairs == 0 ? 1.0 : share(options.causal_pairs, train.size());
  const int64_t ablated = std::min<int64_t>(300, experts);
  add("expert scores",
      fmt::format("gradients on {} pairs, {} experts ablated on {:.0f}", train.size(), ablated,
                  causal * static_cast<double>(train.size())),
      4 * pairs_train, static_cast<double>(ablated) * causal * pairs_train);
  const auto grid = make_grid(options, model);
  const int64_t entered = static_cast<int64_t>(grid.size());
  const int64_t second = (entered + 3) / 4, survivors = std::min<int64_t>(options.survivors, entered);
  const double rung1 = pairs_validation * share(options.rung_pairs[0], validation.size()) +
                       utility_v * share(options.rung_utility[0], utility_validation.size());
  const double rung2 = pairs_validation * share(options.rung_pairs[1], validation.size()) +
                       utility_v * share(options.rung_utility[1], utility_validation.size());
  const double whole = pairs_validation + utility_v;
  add("search", fmt::format("{} configurations and controls, {} and {} go on", entered, second, survivors),
      pairs_train + whole,
      static_cast<double>(entered) * rung1 + static_cast<double>(second) * (rung2 - rung1) +
          static_cast<double>(survivors) * (whole - rung2 + neutral));
  const ReachOptions reach = ReachOptions::of(options.profile, options.seed);
  const double mean_pair = pairs_train / std::max<double>(1, static_cast<double>(train.size())),
               mean_item = utility_v / std::max<double>(1, static_cast<double>(utility_validation.size())),
               step = mean_pair * static_cast<double>(reach.pairs_per_step) +
                      mean_item * static_cast<double>(reach.utility_per_step);
  const int64_t descents = 1 + reach.from_winner + reach.random_restarts,
                conditional = 2 + static_cast<int64_t>(reach.ranks.size());
  // A step of gradients costs about four passes, one without them two.
  const double steps = static_cast<double>(
      4 * (descents * reach.gradient.steps + conditional * reach.conditional.steps) + 2 * reach.perturbation.steps);
  const double snapshots =
      static_cast<double>((descents + 1) * reach.gradient.snapshots + conditional * reach.conditional.snapshots) * 2.5;
  add("upper bounds", fmt::format("{} descents, trained routers, an oracle of routes", descents + 1 + conditional),
      2 * step * steps + 4 * pairs_train,
      snapshots *
          (pairs_validation * share(reach.choice_pairs > 0 ? reach.choice_pairs : 1 << 30, validation.size()) +
           utility_v * share(reach.choice_utility > 0 ? reach.choice_utility : 1 << 30, utility_validation.size())));
  add("test split", fmt::format("the base model and {} survivors on every item", survivors), everything,
      static_cast<double>(survivors) * everything);
  constexpr double kCandidates = 5, kStepsOfDose = 4.5;
  const double draws = kCandidates * (static_cast<double>(options.dose_controls) +
                                      static_cast<double>(std::max<int64_t>(20, options.dose_controls / 4)));
  add("dose control", fmt::format("{:.0f} random directions at equal dose", draws), 0,
      draws * (pairs_test + (options.profile == StudyProfile::kFull ? utility_t : 0) + kStepsOfDose * neutral));
  const double masked = static_cast<double>(3 * options.mask_draws + 20);
  add("masking", fmt::format("{:.0f} groups of experts", masked), 0, masked * (pairs_test + utility_t + neutral));
  if (options.positive_control) {
    // One planted preference after another: a diagnosis each, without what is not needed for a verdict on static
    // control.
    constexpr double kMostLevels = 4, kScalesTried = 10;
    double plain = 0, edited = 0;
    for (const PlannedPart& part : parts)
      if (part.part == "router profile" || part.part == "expert scores" || part.part == "search" ||
          part.part == "test split" || part.part == "dose control")
        plain += part.plain_tokens, edited += part.edited_tokens;
    add("positive control", fmt::format("a planted expert, diagnosed up to {:.0f} times", kMostLevels),
        kMostLevels * plain + kScalesTried * (pairs_train + pairs_validation + pairs_test), kMostLevels * edited);
  }
  add("baseline without routing", fmt::format("{} prefixes", study.prefixes.size()),
      static_cast<double>(study.prefixes.size()) * pairs_validation + pairs_test + utility_t + 2 * neutral, 0);
  return parts;
}

Plan plan_diagnosis(const Scorer& scorer, const Study& study, const DiagnosisOptions& options, double probe_seconds,
                    const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  Measurer measurer(scorer, study, nullptr, progress);
  Plan plan;
  const std::vector<int64_t> train = study.pairs_in(SplitPart::kTrain),
                             utility_train = study.utility_in(SplitPart::kTrain);

  // The probe: slices of the train split, plain and then under edits, until the time is used.
  const std::vector<Intervention> edits = probe_edits(measurer.model(), options, 4);
  double plain_seconds = 0, plain_tokens = 0, edited_seconds = 0, edited_tokens = 0;
  const size_t all = std::max(train.size(), utility_train.size());
  size_t slice = 16;
  for (size_t begin = 0; begin < all; begin += slice, slice = std::min<size_t>(2 * slice, 512)) {
    progress.check();
    Items items;
    items.part = "probe";
    const auto take = [&](const std::vector<int64_t>& from) {
      const size_t first = std::min(begin, from.size()), last = std::min(begin + slice, from.size());
      return std::vector<int64_t>(from.begin() + static_cast<int64_t>(first),
                                  from.begin() + static_cast<int64_t>(last));
    };
    items.pairs = take(train);
    items.utility = take(utility_train);
    const double tokens = fed_pairs(study, items.pairs) + fed_utility(study, items.utility);
    if (tokens == 0) break;
    if (begin == 0) measurer.base(items);  // the first pass also reads the weights from disk
    const auto before = std::chrono::steady_clock::now();
    measurer.base(items);
    const double own = seconds_since(before);
    std::vector<const Intervention*> asked = {nullptr};
    for (const Intervention& edit : edits) asked.push_back(&edit);
    const auto middle = std::chrono::steady_clock::now();
    measurer.evaluate(items, asked);
    plain_seconds += own;
    plain_tokens += tokens;
    edited_seconds += std::max(0.05 * own, seconds_since(middle) - own);
    edited_tokens += tokens * static_cast<double>(edits.size());
    if (seconds_since(start) > probe_seconds) break;
  }
  plan.probe_seconds = seconds_since(start);
  plan.plain_tokens_per_second = plain_tokens / plain_seconds;
  plan.edited_tokens_per_second = edited_tokens / edited_seconds;

  plan.parts = planned_parts(measurer.model(), study, options);
  for (PlannedPart& part : plan.parts) {
    part.seconds =
        part.plain_tokens / plan.plain_tokens_per_second + part.edited_tokens / plan.edited_tokens_per_second;
    plan.forwards += part.forwards;
    plan.seconds += part.seconds;
  }

  const DecoderSpec& spec = scorer.model().spec();
  for (const std::string& name : scorer.model().checkpoint().names())
    plan.weights_bytes += static_cast<int64_t>(scorer.model().checkpoint().raw_tensor(name).num_bytes);
  const int64_t kept = std::min<int64_t>(std::min(study.neutral_tokens, options.neutral_tokens) * spec.vocab_size * 4,
                                         int64_t{512} << 20);
  plan.working_bytes = std::max<int64_t>(0, peak_resident_bytes() - plan.weights_bytes) + kept;
  plan.available_bytes = machine_memory().available_bytes;
  return plan;
}

std::string plan_text(const Plan& plan) {
  const auto duration = [](double seconds) {
    if (seconds < 90) return fmt::format("{:.0f} s", seconds);
    if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
    return fmt::format("{:.1f} h", seconds / 3600);
  };
  const auto gigabytes = [](int64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); };
  std::string text = fmt::format("{:<27}{:>10}{:>10}  {}\n", "part", "forwards", "time", "what");
  for (const PlannedPart& part : plan.parts)
    text += fmt::format("{:<27}{:>10.2f}{:>10}  {}\n", part.part, part.forwards, duration(part.seconds), part.what);
  text += fmt::format("{:<27}{:>10.2f}{:>10}\n", "together", plan.forwards, duration(plan.seconds));
  text += fmt::format("\nprobe: {:.0f} tokens/s plain, {:.0f} tokens/s under an edit, measured in {}\n",
                      plan.plain_tokens_per_second, plan.edited_tokens_per_second, duration(plan.probe_seconds));
  text += fmt::format("memory: {} of weights, about {} beside them", gigabytes(plan.weights_bytes),
                      gigabytes(plan.working_bytes));
  text +=
      plan.available_bytes > 0 ? fmt::format("; {} available\n", gigabytes(plan.available_bytes)) : std::string("\n");
  text +=
      "A forward is one pass over all pairs and utility items. Self-checks, conditions and generated text are not\n"
      "in the estimate: their cost depends on what the parts before them find.\n";
  return text;
}

}  // namespace fare
