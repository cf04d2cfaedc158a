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

std::vector<DoseDraw> tuned_draws(OutcomeSource& source, const SearchCandidate& candidate, bool restricted, int64_t wanted,
                                  const DiagnosisOptions& options, int64_t& tried) {
  std::vector<DoseDraw> draws;
  double start = candidate.strength;  // then the last strength that matched: directions of one kind are alike
  for (tried = 0; tried < 2 * wanted && static_cast<int64_t>(draws.size()) < wanted; ++tried) {
    source.progress().check();
    const auto intervention_at = [&](double strength) {
      std::optional<Intervention> intervention = candidate.direction(tried, restricted, strength);
      if (intervention) intervention->name = fmt::format("dose-{}-{}", restricted ? "outside" : "anywhere", tried);
      return intervention;
    };
    if (!intervention_at(start)) break;
    const auto dose_at = [&](double strength) {
      const Intervention intervention = *intervention_at(strength);
      const Intervention* one = &intervention;
      return source.doses({&one, 1}, options.neutral_tokens).front().kl_nats;
    };
    const MatchedDose match = match_dose(dose_at, candidate.dose->kl_nats, start, candidate.largest_strength,
                                         options.dose_tolerance, kMaxSteps);
    if (!match.matched) continue;
    start = match.lambda;
    DoseDraw draw;
    draw.draw = static_cast<int64_t>(draws.size());
    draw.restricted = restricted;
    draw.match = match;
    draw.intervention = *intervention_at(match.lambda);
    draws.push_back(std::move(draw));
    source.progress()("dose control", static_cast<int64_t>(draws.size()), wanted);
  }
  return draws;
}

std::optional<double> percentile95(const DoseControl& control, bool restricted, int64_t asked, int64_t tried,
                                   std::string& reason) {
  std::vector<double> shifts;
  for (const DoseDraw& draw : control.draws)
    if (draw.restricted == restricted) shifts.push_back(draw.shift_pp);
  const int64_t needed = std::min<int64_t>(20, asked);
  if (static_cast<int64_t>(shifts.size()) < std::max<int64_t>(1, needed)) {
    reason = fmt::format("only {} of {} random directions reach the candidate's dose within the tolerance; {} are needed",
                         shifts.size(), tried, std::max<int64_t>(1, needed));
    return std::nullopt;
  }
  return stats::quantile(shifts, 0.95);
}

}  // namespace

MatchedDose match_dose(const std::function<double(double)>& dose_at, double target, double start, double largest,
                       double tolerance, int max_steps) {
  struct Point {
    double lambda, dose;
  };
  std::optional<Point> below, above;
  MatchedDose best;
  double best_distance = HUGE_VAL;
  double lambda = std::clamp(start, kSmallestLambda, largest);
  for (int step = 0; step < max_steps; ++step) {
    const double dose = dose_at(lambda);
    const double distance = dose > 0 ? std::abs(std::log(dose / target)) : HUGE_VAL;
    if (step == 0 || distance < best_distance) {
      best = {lambda, dose, std::abs(dose / target - 1) <= tolerance};
      best_distance = distance;
    }
    if (best.matched) return best;
    (dose < target ? below : above) = Point{lambda, dose};
    if (below && above) {
      // A jump of the dose (a token's choice flips) can sit inside the bracket: stop when it cannot be divided further.
      const double low = std::log(below->lambda), high = std::log(above->lambda);
      if (std::abs(high - low) < 1e-6) return best;
      double share = 0.5;
      if (below->dose > 0 && step % 3 != 2)
        share = std::clamp(std::log(target / below->dose) / std::log(above->dose / below->dose), 0.1, 0.9);
      lambda = std::exp(low + share * (high - low));
    } else {
      // Dose grows about with the square of a small strength.
      const double factor = dose > 0 ? std::clamp(std::sqrt(target / dose), 0.125, 8.0) : 8.0;
      const double next = lambda * (dose < target ? std::max(factor, 1.1) : std::min(factor, 1 / 1.1));
      const double bounded = std::clamp(next, kSmallestLambda, largest);
      if (bounded == lambda) return best;
      lambda = bounded;
    }
  }
  return best;
}

std::vector<DoseControl> control_doses(OutcomeSource& source, const SearchResult& search, const TestOutcomes& test,
                                       const std::vector<int>& signs, const DiagnosisOptions& options) {
  const Study& study = source.study();
  const std::vector<Margins> base = at_indices<Margins>(test.base.pairs, test.pairs);
  const std::vector<UtilityOutcome> base_utility = at_indices<UtilityOutcome>(test.base.utility, test.utility);
  std::vector<DoseControl> controls;
  std::vector<int64_t> unrestricted_asked, unrestricted_tried;
  for (const SearchCandidate& candidate : search.candidates) {
    DoseControl control;
    control.candidate = candidate.name;
    control.shift_pp = shift_pp(study, test.pairs, base,
                                at_indices<Margins>(outcomes_of(test, search, candidate).pairs, test.pairs), signs);
    control.asked = options.dose_controls;
    int64_t unrestricted = 0, tried = 0;
    if (candidate.dose) control.dose_nats = candidate.dose->kl_nats;
    if (!candidate.dose) {
      control.reason = candidate.dose_reason;
    } else if (candidate.dose->kl_nats <= 0) {
      control.reason = "the candidate's dose on neutral text is 0, so no direction of equal dose exists";
      control.passed = false;
    } else if (!candidate.direction) {
      control.reason = "an intervention of family " + candidate.family + " has no strength that could be tuned to equal dose";
      control.passed = false;
    } else {
      control.draws = tuned_draws(source, candidate, true, control.asked, options, control.tried);
      control.matched = static_cast<int64_t>(control.draws.size());
      unrestricted = std::min(control.asked, std::max<int64_t>(20, control.asked / 4));
      for (DoseDraw& draw : tuned_draws(source, candidate, false, unrestricted, options, tried))
        control.draws.push_back(std::move(draw));
    }
    unrestricted_asked.push_back(unrestricted);
    unrestricted_tried.push_back(tried);
    controls.push_back(std::move(control));
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
    control.percentile95_unrestricted_pp =
        percentile95(control, false, unrestricted_asked[c], unrestricted_tried[c], control.unrestricted_reason);
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
