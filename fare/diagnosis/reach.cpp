#include "fare/diagnosis/reach.h"

#include <fmt/format.h>

#include <algorithm>

namespace fare {
namespace {

// Items that the chosen points are measured on.
Items measured_items(const Study& study) {
  Items items;
  items.part = "reach";
  items.pairs = study.pairs_in(SplitPart::kTrain);
  const auto validation = study.pairs_in(SplitPart::kValidation);
  items.pairs.insert(items.pairs.end(), validation.begin(), validation.end());
  items.utility = study.utility_in(SplitPart::kValidation);
  return items;
}

// The best point of some searches joins the verdict: the largest validation shift within tau where it is worth the
// name, else the largest of all. `outcomes`: of the base, then of the points.
void carry(UpperBounds& bounds, const std::vector<ReachPick>& picks, const std::vector<std::string>& from,
           const std::string& control_class, const std::vector<Outcomes>& outcomes, const RoutedModel& model,
           const DiagnosisOptions& options) {
  const double tau = options.thresholds.pooled_drop_pp, worth = options.thresholds.shift_pp;
  std::optional<size_t> best;
  bool best_within = false;
  for (size_t i = 0; i < bounds.points.size(); ++i) {
    const ReachPoint& point = bounds.points[i];
    if (std::find(from.begin(), from.end(), point.bound) == from.end() || point.intervention.edits.empty()) continue;
    const bool within =
        (!point.validation_drop_pp || *point.validation_drop_pp <= tau) && *point.validation_pp >= worth;
    if (!best || (within && !best_within) ||
        (within == best_within && *point.validation_pp > *bounds.points[*best].validation_pp)) {
      best = i;
      best_within = within;
    }
  }
  if (!best) return;
  ReachPoint& point = bounds.points[*best];
  SearchCandidate candidate;
  candidate.name = point.candidate = point.intervention.name;
  candidate.control_class = control_class;
  candidate.role = point.constraint == "none" ? "reach" : "best within tau";
  candidate.origin = point.bound;
  candidate.description = fmt::format("{}, {} experts", point.bound, *point.breadth);
  candidate.intervention = point.intervention;
  candidate.family = picks[*best].family;
  candidate.breadth = *point.breadth;
  candidate.strength = 1;
  candidate.validation_shift_pp = *point.validation_pp;
  int64_t changed = 0;
  const auto &base = outcomes[0].utility, &own = outcomes[*best + 1].utility;
  for (size_t u = 0; u < base.size(); ++u) changed += base[u].correct != own[u].correct;
  candidate.validation_drop_discordance =
      base.empty() ? 0 : static_cast<double>(changed) / static_cast<double>(base.size());
  candidate.within_tau = !point.validation_drop_pp || *point.validation_drop_pp <= tau;
  candidate.dose = point.dose;
  candidate.dose_reason = point.dose_reason;
  // Random directions of equal dose say something about a shift that counts; without one r3 is not met.
  if (*point.validation_pp >= worth / 2)
    candidate.direction = [like = point.intervention, model, seed = options.seed](int64_t draw, bool restricted,
                                                                                  double strength) {
      return random_like(like, model, restricted, seed, draw, strength);
    };
  bounds.candidates.push_back(std::move(candidate));
}

}  // namespace

UpperBounds measure_points(OutcomeSource& source, const std::vector<ReachPick>& picks, const std::vector<int>& signs,
                           const DiagnosisOptions& options) {
  const Study& study = source.study();
  const Items items = measured_items(study);
  const size_t num_train = study.pairs_in(SplitPart::kTrain).size();
  std::vector<const Intervention*> asked = {nullptr};
  for (const ReachPick& pick : picks) asked.push_back(&pick.intervention);
  const std::vector<Outcomes> outcomes = source.evaluate(items, asked);
  const std::span<const int64_t> pairs(items.pairs);
  const std::span<const Margins> base(outcomes[0].pairs);
  std::vector<Dose> doses;
  if (!study.neutral.empty()) doses = source.doses(std::span(asked).subspan(1), options.neutral_tokens);
  UpperBounds bounds;
  for (size_t i = 0; i < picks.size(); ++i) {
    const ReachPick& pick = picks[i];
    const std::span<const Margins> edited(outcomes[i + 1].pairs);
    ReachPoint point;
    point.bound = pick.bound;
    point.control_class = pick.control_class;
    point.constraint = pick.constraint;
    point.needed_for_no = pick.constraint == "none";
    point.intervention = pick.intervention;
    point.breadth = pick.breadth;
    point.train_pp = shift_pp(study, pairs.first(num_train), base.first(num_train), edited.first(num_train), signs);
    point.validation_pp =
        shift_pp(study, pairs.subspan(num_train), base.subspan(num_train), edited.subspan(num_train), signs);
    if (!items.utility.empty()) point.validation_drop_pp = drop_pp(outcomes[0].utility, outcomes[i + 1].utility);
    if (!doses.empty()) point.dose = doses[i];
    else point.dose_reason = "the study has no neutral text";
    bounds.points.push_back(std::move(point));
  }
  const auto carry_best = [&](const std::vector<std::string>& from, const std::string& control_class) {
    carry(bounds, picks, from, control_class, outcomes, source.model(), options);
  };
  carry_best({"a6_gradient"}, "static");
  carry_best({"a6_second_optimiser"}, "static");
  carry_best({"conditional_tokens", "conditional_detector", "conditional_low_rank"}, "conditional");
  carry_best({"router_only"}, "router_only");
  return bounds;
}

Reach search_reach(Measurer& measurer, const SearchResult& search, const RouterProfile& profile,
                   const std::vector<int>& signs, const ReachOptions& how, const DiagnosisOptions& options) {
  Reach reach;
  reach.found = run_reach_searches(measurer, search, profile, signs, how, options);
  reach.bounds = measure_points(measurer, reach.found.picks, signs, options);
  reach.bounds.complete = {"static"};
  if (reach.found.has("conditional_tokens") && reach.found.has("conditional_detector") &&
      reach.found.has("conditional_low_rank"))
    reach.bounds.complete.push_back("conditional");
  if (reach.found.has("router_only")) reach.bounds.complete.push_back("router_only");
  const Study& study = measurer.study();
  reach.oracle_train = measure_oracle(measurer, study.pairs_in(SplitPart::kTrain), signs, how, options, "train");
  reach.oracle_validation =
      measure_oracle(measurer, study.pairs_in(SplitPart::kValidation), signs, how, options, "validation");
  return reach;
}

}  // namespace fare
