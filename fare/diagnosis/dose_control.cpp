#include "fare/diagnosis/dose_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fare/diagnosis/null_fields.h"
#include "fare/stats/moments.h"

namespace fare {
namespace {

constexpr int kMaxSteps = 14;
constexpr double kSmallestLambda = 1e-6;
// A bracket of strengths this narrow (log of their ratio) holds a jump of the dose: a token's choice flips.
constexpr double kNarrowBracket = 1e-2;
// More strength that adds no more than this share of the dose has run into the largest that its direction can do.
constexpr double kSaturated = 1e-3;
// Draws of a kind that are tuned first; the others start from the median of their strengths, since directions are
// alike.
constexpr int64_t kPilots = 5;

// The random directions of one candidate and one kind, on their way to its dose.
struct Tuning {
  const SearchCandidate* candidate;
  double target_nats;
  bool on_pairs, restricted;
  int64_t wanted, tried = 0;
  bool exhausted = false;  // there is no further direction
  std::vector<DoseDraw> draws = {};

  struct Running {
    int64_t number;
    DoseSearch search;
  };
  std::vector<Running> running = {};

  Intervention at(int64_t number, double strength) const {
    Intervention intervention = *candidate->direction(number, restricted, strength);
    intervention.name = fmt::format("dose-{}-{}", restricted ? "outside" : "anywhere", number);
    return intervention;
  }

  // Starts the next directions once those before are settled: as many as are wanted still.
  void refill(const DiagnosisOptions& options) {
    if (!running.empty() || exhausted) return;
    int64_t count = std::min(wanted - static_cast<int64_t>(draws.size()), 2 * wanted - tried);
    double start = candidate->strength;
    if (tried == 0) count = std::min(count, kPilots);
    std::vector<double> matched;
    for (const DoseDraw& draw : draws) matched.push_back(draw.match.lambda);
    if (!matched.empty()) start = stats::quantile(matched, 0.5);
    for (; count > 0; --count, ++tried) {
      if (!candidate->direction(tried, restricted, start)) {
        exhausted = true;
        return;
      }
      running.push_back(
          {tried, DoseSearch(target_nats, start, candidate->largest_strength, options.dose_tolerance, kMaxSteps)});
    }
  }

  // Moves what has ended to the draws, in the order of their numbers.
  void settle() {
    if (!std::all_of(running.begin(), running.end(), [](const Running& one) { return one.search.done(); })) return;
    for (const Running& one : running) {
      const MatchedDose& match = one.search.best();
      if (match.matched)
        draws.push_back(
            {static_cast<int64_t>(draws.size()), restricted, match, at(one.number, match.lambda), 0, std::nullopt});
    }
    running.clear();
  }
};

// Tunes all of them, every round with one call for the doses of all directions that are on their way.
void tune(OutcomeSource& source, std::vector<Tuning>& tunings, const DiagnosisOptions& options) {
  int64_t wanted = 0;
  for (const Tuning& tuning : tunings) wanted += tuning.wanted;
  while (true) {
    source.progress().check();
    struct Asked {
      std::vector<Intervention> interventions;
      std::vector<DoseSearch*> askers;
    };
    Asked on_neutral, on_pairs;
    int64_t matched = 0;
    for (Tuning& tuning : tunings) {
      tuning.settle();
      tuning.refill(options);
      matched += static_cast<int64_t>(tuning.draws.size());
      for (Tuning::Running& one : tuning.running) {
        if (one.search.done()) continue;
        Asked& asked = tuning.on_pairs ? on_pairs : on_neutral;
        asked.interventions.push_back(tuning.at(one.number, one.search.next()));
        asked.askers.push_back(&one.search);
      }
    }
    source.progress()("dose control", matched, wanted);
    if (on_neutral.askers.empty() && on_pairs.askers.empty()) return;
    for (const Asked* asked : {&on_neutral, &on_pairs}) {
      if (asked->askers.empty()) continue;
      std::vector<const Intervention*> pointers;
      for (const Intervention& one : asked->interventions) pointers.push_back(&one);
      const std::vector<Dose> doses = asked == &on_pairs ? source.doses_on_pairs(pointers, options.neutral_tokens)
                                                         : source.doses(pointers, options.neutral_tokens);
      for (size_t i = 0; i < doses.size(); ++i) asked->askers[i]->tell(doses[i].kl_nats);
    }
  }
}

// Acts on certain words alone.
bool acts_on_words(const Intervention& intervention) {
  return !intervention.edits.empty() && std::all_of(intervention.edits.begin(), intervention.edits.end(),
                                                    [](const Edit& edit) { return !edit.where.token_ids.empty(); });
}

std::optional<double> percentile95(const DoseControl& control, bool restricted, int64_t asked, int64_t tried,
                                   std::string& reason) {
  std::vector<double> shifts;
  for (const DoseDraw& draw : control.draws)
    if (draw.restricted == restricted) shifts.push_back(draw.shift_pp);
  if (tried == 0) {
    reason = "the candidate touches every expert of its layers, so none is left to draw a direction from";
    return std::nullopt;
  }
  const int64_t needed = std::min<int64_t>(20, asked);
  if (static_cast<int64_t>(shifts.size()) < std::max<int64_t>(1, needed)) {
    reason =
        fmt::format("only {} of {} random directions reach the candidate's dose within the tolerance; {} are needed",
                    shifts.size(), tried, std::max<int64_t>(1, needed));
    return std::nullopt;
  }
  return stats::quantile(shifts, 0.95);
}

}  // namespace

DoseSearch::DoseSearch(double target, double start, double largest, double tolerance, int max_steps)
    : target_(target),
      largest_(largest),
      tolerance_(tolerance),
      lambda_(std::clamp(start, kSmallestLambda, largest)),
      steps_left_(max_steps) {}

void DoseSearch::tell(double dose) {
  const double distance = dose > 0 ? std::abs(std::log(dose / target_)) : HUGE_VAL;
  if (step_ == 0 || distance < best_distance_) {
    best_ = {lambda_, dose, std::abs(dose / target_ - 1) <= tolerance_};
    best_distance_ = distance;
  }
  ++step_;
  const bool saturated = below_ && dose < target_ && lambda_ > 1.5 * below_->lambda && below_->dose > 0 &&
                         dose < (1 + kSaturated) * below_->dose;
  done_ = best_.matched || --steps_left_ == 0 || saturated;
  if (done_) return;
  (dose < target_ ? below_ : above_) = Point{lambda_, dose};
  if (below_ && above_) {
    const double low = std::log(below_->lambda), high = std::log(above_->lambda);
    done_ = std::abs(high - low) < kNarrowBracket;
    double share = 0.5;
    if (below_->dose > 0 && step_ % 3 != 0)
      share = std::clamp(std::log(target_ / below_->dose) / std::log(above_->dose / below_->dose), 0.1, 0.9);
    lambda_ = std::exp(low + share * (high - low));
  } else {
    // Dose grows about with the square of a small strength.
    const double factor = dose > 0 ? std::clamp(std::sqrt(target_ / dose), 0.125, 8.0) : 8.0;
    const double wished = lambda_ * (dose < target_ ? std::max(factor, 1.1) : std::min(factor, 1 / 1.1));
    const double bounded = std::clamp(wished, kSmallestLambda, largest_);
    done_ = bounded == lambda_;
    lambda_ = bounded;
  }
}

std::vector<DoseControl> control_doses(OutcomeSource& source, const SearchResult& search, const TestOutcomes& test,
                                       const std::vector<int>& signs, const DiagnosisOptions& options) {
  const Study& study = source.study();
  const std::vector<Margins> base = at_indices<Margins>(test.base.pairs, test.pairs);
  const std::vector<UtilityOutcome> base_utility = at_indices<UtilityOutcome>(test.base.utility, test.utility);
  std::vector<DoseControl> controls;
  std::vector<Tuning> tunings;               // two of each candidate that can be tuned: restricted, then anywhere
  std::vector<std::optional<size_t>> first;  // of each candidate's
  for (const SearchCandidate& candidate : search.candidates) {
    DoseControl control;
    control.candidate = candidate.name;
    control.shift_pp = shift_pp(study, test.pairs, base,
                                at_indices<Margins>(outcomes_of(test, search, candidate).pairs, test.pairs), signs);
    control.asked = options.dose_controls;
    first.push_back(std::nullopt);
    if (candidate.dose) control.dose_nats = candidate.dose->kl_nats;
    if (control.dose_nats == 0.0 && acts_on_words(candidate.intervention)) {
      const Intervention* one = &candidate.intervention;
      control.on_pairs = true;
      control.dose_nats = source.doses_on_pairs({&one, 1}, options.neutral_tokens).front().kl_nats;
    }
    if (!candidate.dose) {
      control.reason = candidate.dose_reason;
    } else if (*control.dose_nats <= 0) {
      control.reason = fmt::format("the candidate's dose on neutral text {}is 0, so no direction of equal dose exists",
                                   control.on_pairs ? "and on the pairs' own texts " : "");
      control.passed = false;
    } else if (!candidate.direction) {
      // Forced experts have no strength; other kinds get directions where validation shows a shift worth comparing
      // (reach.cpp).
      control.reason =
          candidate.family == "I4"
              ? "an intervention of family I4 has no strength that could be tuned to equal dose"
              : fmt::format(
                    "its shift on validation, {:.1f} pp, is less than half of what counts: no random edits are "
                    "asked for",
                    candidate.validation_shift_pp);
      control.passed = false;
    } else {
      first.back() = tunings.size();
      tunings.push_back({&candidate, *control.dose_nats, control.on_pairs, true, control.asked});
      const int64_t anywhere = std::min(control.asked, std::max<int64_t>(20, control.asked / 4));
      tunings.push_back({&candidate, *control.dose_nats, control.on_pairs, false, anywhere});
    }
    controls.push_back(std::move(control));
  }
  tune(source, tunings, options);
  for (size_t c = 0; c < controls.size(); ++c) {
    if (!first[c]) continue;
    controls[c].tried = tunings[*first[c]].tried;
    controls[c].matched = static_cast<int64_t>(tunings[*first[c]].draws.size());
    for (const size_t t : {*first[c], *first[c] + 1})
      std::move(tunings[t].draws.begin(), tunings[t].draws.end(), std::back_inserter(controls[c].draws));
  }

  std::vector<const Intervention*> asked;
  for (const DoseControl& control : controls)
    for (const DoseDraw& draw : control.draws) asked.push_back(&draw.intervention);
  if (!asked.empty()) {
    Items items;
    items.part = "dose-control";
    items.pairs = test.pairs;
    if (options.profile == StudyProfile::kFull) items.utility = test.utility;  // r3 reads the shift alone
    const std::vector<Outcomes> outcomes = source.evaluate(items, asked);
    size_t next = 0;
    for (DoseControl& control : controls)
      for (DoseDraw& draw : control.draws) {
        const Outcomes& edited = outcomes[next++];
        draw.shift_pp = shift_pp(study, test.pairs, base, edited.pairs, signs);
        if (!items.utility.empty()) draw.drop_pp = drop_pp(base_utility, edited.utility);
      }
  }
  for (size_t c = 0; c < controls.size(); ++c) {
    DoseControl& control = controls[c];
    for (const DoseDraw& draw : control.draws)
      control.worst_mismatch =
          std::max(control.worst_mismatch.value_or(0), std::abs(draw.match.dose_nats / *control.dose_nats - 1));
    if (!control.reason.empty()) {
      control.unrestricted_reason = control.reason;
      continue;
    }
    control.percentile95_pp = percentile95(control, true, control.asked, control.tried, control.reason);
    control.percentile95_unrestricted_pp = percentile95(control, false, tunings[*first[c] + 1].wanted,
                                                        tunings[*first[c] + 1].tried, control.unrestricted_reason);
    control.passed = control.percentile95_pp && control.shift_pp > *control.percentile95_pp;
  }
  return controls;
}

OrderedJson dose_control_json(const std::vector<DoseControl>& controls) {
  OrderedJson list = OrderedJson::array();
  for (const DoseControl& control : controls) {
    OrderedJson json;
    json["candidate"] = control.candidate;
    put_field(json, "dose_nats", control.dose_nats, control.reason);
    json["dose_text"] = control.on_pairs ? "pairs" : "neutral";
    json["shift_pp"] = control.shift_pp;
    put_field(json, "percentile95_pp", control.percentile95_pp, control.reason);
    put_field(json, "percentile95_unrestricted_pp", control.percentile95_unrestricted_pp, control.unrestricted_reason);
    put_field(json, "passed", control.passed, control.reason);
    json["asked"] = control.asked;
    json["tried"] = control.tried;
    json["matched"] = control.matched;
    json["failed_to_match"] = control.tried - control.matched;
    put_field(json, "worst_mismatch", control.worst_mismatch,
              control.reason.empty() ? "no direction reached the dose" : control.reason);
    json["draws"] = OrderedJson::array();
    for (const DoseDraw& draw : control.draws) {
      OrderedJson row;
      row["draw"] = draw.draw;
      row["restricted"] = draw.restricted;
      row["shift_pp"] = draw.shift_pp;
      put_field(row, "drop_pp", draw.drop_pp, "measured in the full profile, where the test split holds utility items");
      row["dose_nats"] = draw.match.dose_nats;
      row["lambda"] = draw.match.lambda;
      json["draws"].push_back(row);
    }
    list.push_back(json);
  }
  return list;
}

}  // namespace fare
