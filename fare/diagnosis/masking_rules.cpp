#include "fare/diagnosis/masking_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "fare/stats/moments.h"
#include "fare/stats/ranks.h"

namespace fare {
namespace {

constexpr int64_t kLeastDistinctSets = 39;  // below this p <= 0.05 / 2 cannot be reached
constexpr double kHalf = 0.5;

std::vector<double> shifts_of(const MaskGroup& group) {
  std::vector<double> values;
  for (const MaskDraw& draw : group.draws) values.push_back(draw.shift_pp);
  return values;
}

std::vector<double> drops_of(const MaskGroup& group) {
  std::vector<double> values;
  for (const MaskDraw& draw : group.draws)
    if (draw.drop_pp) values.push_back(*draw.drop_pp);
  return values;
}

// "masking the top 4 experts (refill) removes 3.1 pp at a drop of 2.0 pp; ..."
std::string numbers_of(const Masking& masking) {
  const MaskGroup& top = *masking.find("T");
  std::string text =
      fmt::format("Masking the top {} experts with refill removes {:.1f} pp", masking.primary_m, top.draws[0].shift_pp);
  if (top.draws[0].drop_pp) text += fmt::format(" at a drop of {:.1f} pp", *top.draws[0].drop_pp);
  for (const auto& [name, kind] : {std::pair{"U", "usage"}, std::pair{"C", "capacity"}}) {
    const MaskGroup* group = masking.find(name);
    if (group == nullptr || group->draws.empty()) continue;
    text += fmt::format("; {}-matched experts remove {:.1f} pp", kind, *stats::mean(shifts_of(*group)));
    if (const auto drop = stats::mean(drops_of(*group))) text += fmt::format(" at a drop of {:.1f} pp", *drop);
  }
  return text;
}

// The tests of one quantity that can be decided, and why the others cannot.
struct Decided {
  std::vector<const MaskTest*> tests;
  std::vector<std::string> reasons;

  bool all_extreme(double alpha) const {
    return !tests.empty() &&
           std::all_of(tests.begin(), tests.end(), [&](const MaskTest* t) { return t->place.p <= alpha; });
  }
  bool none_extreme(double alpha) const {
    return !tests.empty() &&
           std::all_of(tests.begin(), tests.end(), [&](const MaskTest* t) { return t->place.p > alpha; });
  }
};

Decided decided(const Masking& masking, const std::string& quantity) {
  Decided result;
  for (const MaskTest& test : masking.tests) {
    if (test.quantity != quantity || test.group == "R") continue;
    if (!test.reason.empty()) result.reasons.push_back(fmt::format("{}: {}", test.group, test.reason));
    else if (test.place.distinct_sets < kLeastDistinctSets)
      result.reasons.push_back(fmt::format("{}: {} distinct sets were drawn and {} are needed", test.group,
                                           test.place.distinct_sets, kLeastDistinctSets));
    else result.tests.push_back(&test);
  }
  return result;
}

}  // namespace

const MaskGroup* Masking::find(const std::string& group, const std::string& mode) const {
  for (const MaskGroup& one : groups)
    if (one.group == group && one.mode == mode && one.m == primary_m) return &one;
  return nullptr;
}

std::optional<bool> is_separable(const Shift& shift, const Drop& drop, const Thresholds& limits) {
  if (shift.interval90.high < limits.shift_pp) return false;
  if (drop.n > 0 && drop.interval90.low > limits.pooled_drop_pp) return false;
  const bool shifts = shift.value_pp >= limits.shift_pp && shift.interval95.low > 0;
  if (shifts && drop.n > 0 && drop.interval90.high <= limits.pooled_drop_pp) return true;
  return std::nullopt;
}

void make_tests(Masking& masking) {
  const MaskGroup& top = *masking.find("T");
  const bool has_drops = top.draws[0].drop_pp.has_value();
  for (const char* name : {"U", "C", "R"}) {
    const MaskGroup& group = *masking.find(name);
    std::vector<std::vector<RoutedExpert>> sets;
    for (const MaskDraw& draw : group.draws) sets.push_back(draw.experts);
    for (const char* quantity : {"drop", "shift"}) {
      MaskTest test{.name = fmt::format("{} of T among {}", quantity, name), .quantity = quantity, .group = name};
      const bool of_drop = test.quantity == "drop";
      if (group.draws.empty()) test.reason = group.reason;
      else if (of_drop && !has_drops) test.reason = "the test split holds no utility item";
      else
        test.place = place_among(of_drop ? *top.draws[0].drop_pp : top.draws[0].shift_pp,
                                 of_drop ? drops_of(group) : shifts_of(group), sets);
      masking.tests.push_back(std::move(test));
    }
  }
}

void correlate(Masking& masking, const std::function<double(const RoutedExpert&)>& mass_of) {
  std::vector<double> shift, drop, mass, dose;
  for (const char* name : {"R", "U", "C"})
    for (const MaskDraw& draw : masking.find(name)->draws) {
      if (!draw.drop_pp || !draw.dose_nats) continue;
      shift.push_back(draw.shift_pp);
      drop.push_back(*draw.drop_pp);
      dose.push_back(*draw.dose_nats);
      double sum = 0;
      for (const RoutedExpert& expert : draw.experts) sum += mass_of(expert);
      mass.push_back(sum);
    }
  if (shift.size() < 5) {
    masking.correlation_reason = "fewer than five draws have a shift, a drop and a dose";
    return;
  }
  const auto correlation =
      stats::partial_spearman(shift, drop, {std::span<const double>(mass), std::span<const double>(dose)});
  if (correlation) masking.partial_correlation = *correlation;
  else masking.correlation_reason = correlation.reason;
}

void conclude(Masking& masking, const Thresholds& limits) {
  const MaskGroup& top = *masking.find("T");
  const std::string numbers = numbers_of(masking);
  const auto say = [&](const std::string& code, const std::string& text) {
    masking.conclusion = code;
    masking.sentence = fmt::format("{}. {}", numbers, text);
    for (const MaskSubset& subset : masking.subsets)
      if (subset.kind == MaskSubset::Kind::kConditional && subset.separable.value_or(false) && code != "separable")
        masking.sentence +=
            fmt::format(" Masked near demographic words only, they remove {:.1f} pp at a drop of {:.1f} pp.",
                        subset.shift.value_pp, subset.drop.value_pp);
  };

  const MaskSubset* separable = nullptr;
  std::vector<std::string> open;
  for (const MaskSubset& subset : masking.subsets) {
    if (subset.kind == MaskSubset::Kind::kConditional) continue;
    if (!subset.separable) open.push_back(subset.what);
    else if (*subset.separable && (separable == nullptr || subset.shift.value_pp > separable->shift.value_pp))
      separable = &subset;
  }
  if (separable != nullptr)
    return say("separable",
               fmt::format("Masking {} with refill removes {:.1f} pp at a drop of {:.1f} pp within tau: separable "
                           "at finer grain.",
                           separable->what, separable->shift.value_pp, separable->drop.value_pp));
  if (!top.drop || top.drop->n == 0)
    return say("unresolved", "The test split holds no utility item, so nothing can be said about knowledge.");
  if (top.drop->interval95.low <= 0)
    return say(
        "unresolved",
        fmt::format("The drop is not above 0 (95% interval {:.1f} to {:.1f} pp), so there is nothing to share or to "
                    "explain, and no subset removes {:.1f} pp within tau (mode refill).",
                    top.drop->interval95.low, top.drop->interval95.high, limits.shift_pp));
  std::optional<double> mediated;  // share of the drop
  if (top.drop_parts) mediated = top.drop_parts->mediated / top.drop->value_pp;
  if (mediated && *mediated > kHalf)
    return say("through_routing",
               fmt::format("{:.0f}% of the drop comes by the routes of later layers and not by what the masked "
                           "experts hold (mode refill): through routing.",
                           100 * *mediated));
  const Decided drop = decided(masking, "drop"), shift = decided(masking, "shift");
  if (masking.homogeneous)
    return say(
        "unresolved",
        "The top group and its matched sets both cost more than the bottom group: every expert carries both, and "
        "whether these share more is unresolved (homogeneous; mode refill).");
  const bool extreme = drop.all_extreme(limits.alpha) && shift.all_extreme(limits.alpha);
  if (extreme && mediated && open.empty())
    return say(
        "shared_experts",
        fmt::format("Both are more than matched groups show (p <= {:.2f}), {:.0f}% of the drop is direct, and no "
                    "subset removes {:.1f} pp within tau (mode refill): bias and knowledge share these experts.",
                    limits.alpha, 100 * (1 - *mediated), limits.shift_pp));
  if (drop.none_extreme(limits.alpha))
    return say("capacity",
               "The top group costs no more than groups of the same use or mass (mode refill): capacity or routing "
               "disturbance, not content.");
  std::string why;
  const auto add = [&](const std::string& reason) { why += (why.empty() ? "" : "; ") + reason; };
  for (const std::string& reason : drop.reasons) add(reason);
  if (!drop.tests.empty() && !extreme) {
    std::string places;
    for (const Decided* one : {&drop, &shift})
      for (const MaskTest* test : one->tests)
        places += fmt::format("{}{} p = {:.3f}", places.empty() ? "" : ", ", test->name, test->place.p);
    add(places);
  }
  if (!open.empty()) add(fmt::format("{} could still be separable", open.front()));
  if (!mediated) add(top.parts_reason);
  say("unresolved",
      fmt::format("Whether bias and knowledge share these experts is unresolved (mode refill): {}.", why));
}

}  // namespace fare
