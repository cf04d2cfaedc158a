// Defects of a diagnosis, switched on one at a time through the data, the files or the source of outcomes it reads
// (methods E6): each must trip the check named in its test. Two more are in luck_test.cpp: a search that sees the test
// split, a swapped sign.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fare/calibration/cell_seed.h"
#include "fare/calibration/fixed_candidate.h"
#include "fare/calibration/rate.h"
#include "fare/core/file.h"
#include "fare/diagnosis/bias.h"
#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/sensitivity.h"
#include "fare/diagnosis/transfer_prompts.h"
#include "fare/lab/draws.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

Mark margins_mark() { return {"engine: largest difference of a margin, nats", 0, 1e-4}; }
Mark rejection_mark() { return {"whole pipeline: rejection at shift 0", 0, 0.07, true}; }
Mark power_mark() { return {"fixed candidate: power at the minimum detectable effect", 0.70, 0.90, true}; }

Intervention mask_of(const std::vector<int64_t>& experts, int64_t layer, Mask::Mode mode, bool keep_sum) {
  Intervention mask;
  mask.name = "mask";
  mask.edits.push_back({Mask{{experts.begin(), experts.end()}, mode, keep_sum}, {layer}, {}});
  return mask;
}

Intervention mask_of(const Geometry& g, Mask::Mode mode, bool keep_sum) {
  return mask_of(g.planted, g.bias_layer, mode, keep_sum);
}

std::vector<Margins> margins_of(OutcomeSource& source, const Intervention* intervention) {
  Items items;
  items.part = "all";
  for (size_t i = 0; i < source.study().pairs.size(); ++i) items.pairs.push_back(static_cast<int64_t>(i));
  return source.evaluate(items, {&intervention, 1}).front().pairs;
}

double largest_difference(const std::vector<Margins>& a, const std::vector<Margins>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i].sum - b[i].sum));
  return largest;
}

// A small X1 by forward passes and reduced.
struct Both {
  Both()
      : options(small_control("X1")),
        engine(options),
        reduced(build_control_model(options, 1)),
        subject(reduced, reduced.critical().own_noise(), 0, progress) {}
  ControlOptions options;
  ControlStudy engine;
  SimulatedModel reduced;
  Progress progress;
  SimulatedSubject subject;
};

TEST(Defect, ASpanOffByOneFailsTheSelfCheckCausalZero) {
  ControlStudy control(small_control("X1"));
  const DiagnosisOptions options = [] {
    DiagnosisOptions few;
    few.bootstrap_replicates = few.permutations = 99;
    return few;
  }();
  EXPECT_LE(measure_sensitivity(*control.measurer, options).causal_zero_max, 1e-9);
  for (EncodedPair& pair : control.study.pairs)
    for (PairAlignment::Matched& row : pair.alignment.before) ++row.stereo, ++row.anti;
  EXPECT_GT(measure_sensitivity(*control.measurer, options).causal_zero_max, 1e-9);
}

TEST(Defect, WeightsThatAreNotRenormalisedMissTheMarkOfMargins) {
  Both both;
  Mark right = margins_mark();
  right.see(largest_difference(margins_of(*both.engine.measurer, nullptr), margins_of(both.subject, nullptr)), "X1");
  EXPECT_TRUE(right.passed) << right.value;
  const std::filesystem::path config = both.engine.folder.path() / "config.json";
  OrderedJson json = OrderedJson::parse(read_file(config));
  ASSERT_EQ(json.at("norm_topk_prob"), true);
  json["norm_topk_prob"] = false;
  write_file(config, json.dump());
  const auto model = Model::open(both.engine.folder.path(), Execution{});
  const Scorer scorer(*model, ScorerOptions{});
  Measurer measurer(scorer, both.engine.study, nullptr, both.progress);
  Mark mark = margins_mark();
  mark.see(largest_difference(margins_of(measurer, nullptr), margins_of(both.subject, nullptr)), "X1");
  EXPECT_FALSE(mark.passed) << mark.value;
}

TEST(Defect, RefillReportedAsZeroAblationMissesTheMarkOfMargins) {
  Both both;
  const Geometry& g = both.reduced.world().geometry;
  // Of experts that are always chosen: refill gives their weight to the others, side experts among them.
  const Intervention refill = mask_of(g.roles.grammar, g.bias_layer, Mask::Mode::kRefill, false),
                     zero = mask_of(g.roles.grammar, g.bias_layer, Mask::Mode::kZero, false);
  const std::vector<Margins> asked = margins_of(*both.engine.measurer, &zero);
  Mark right = margins_mark(), mark = margins_mark();
  right.see(largest_difference(asked, margins_of(both.subject, &zero)), "X1");
  EXPECT_TRUE(right.passed) << right.value;
  mark.see(largest_difference(asked, margins_of(both.subject, &refill)), "X1");
  EXPECT_FALSE(mark.passed) << mark.value;
}

// An expert takes the first pairs of a call and drops the others.
class LimitedCapacity : public SimulatedSubject {
 public:
  using SimulatedSubject::SimulatedSubject;
  std::vector<Outcomes> evaluate(const Items& items, std::span<const Intervention* const> interventions) override {
    std::vector<Outcomes> all = SimulatedSubject::evaluate(items, interventions);
    const Intervention dropped = mask_of(*geometry, Mask::Mode::kZero, false);
    const Intervention* one = &dropped;
    const Outcomes without = SimulatedSubject::evaluate(items, {&one, 1}).front();
    for (size_t i = 0; i < all.size(); ++i)
      for (size_t p = all[i].pairs.size() / 2; interventions[i] == nullptr && p < all[i].pairs.size(); ++p)
        all[i].pairs[p] = without.pairs[p];
    return all;
  }
  const Geometry* geometry = nullptr;
};

TEST(Defect, ACapacityLimitMissesTheMarkOfMargins) {
  Both both;
  LimitedCapacity limited(both.reduced, both.reduced.critical().own_noise(), 0, both.progress);
  limited.geometry = &both.reduced.world().geometry;
  Mark mark = margins_mark();
  mark.see(largest_difference(margins_of(*both.engine.measurer, nullptr), margins_of(limited, nullptr)), "X1");
  EXPECT_FALSE(mark.passed) << mark.value;
}

// X10n as in the fixed part of the calibration.
struct Noisy {
  explicit Noisy(double shift_pp)
      : bias(kDeviation * normal_quantile(0.62)),
        angle(noise_angle(bias, bias, kDeviation, kFlips)),
        model(build_control_model(options_of(shift_pp, angle, bias), 1)),
        mask(mask_of(model.world().geometry, Mask::Mode::kRefill, true)),
        before(model.states(nullptr)),
        after(model.states(&mask)),
        signs(model.study().axes.size(), 1) {
    for (size_t i = 0; i < model.study().pairs.size(); ++i) all.push_back(static_cast<int64_t>(i));
  }
  static ControlOptions options_of(double shift_pp, double angle, double bias) {
    ControlOptions options;
    options.id = "X10n";
    options.pairs = 754;
    options.transfer_pairs = 0;
    options.facts = options.utility = 12;
    options.prompts = 0;
    options.neutral_tokens = 1300;
    options.reachable_pp = shift_pp;
    options.noise_pp =
        100 * changed_share(bias, kDeviation * normal_quantile(0.62 - shift_pp / 100), kDeviation, angle);
    return options;
  }
  std::vector<Margins> margins(const SimulatedModel::States& states, uint64_t seed) const {
    const std::vector<PairNoise> noise = model.draw_noise({kDeviation, false, angle}, seed);
    std::vector<Margins> list;
    for (const int64_t i : all) {
      const size_t p = static_cast<size_t>(i);
      const double m = model.critical().margin(i, states.sides[2 * p], states.sides[2 * p + 1], noise[p]);
      list.push_back({m, m, m});
    }
    return list;
  }
  Shift shift(const std::vector<Margins>& base, const std::vector<Margins>& edited, uint64_t seed) const {
    return measure_shift(model.study(), all, base, edited, signs, MarginScoring::kSum, pipeline_options(754, seed, 199),
                         "defect");
  }
  static constexpr double kDeviation = 2, kFlips = 0.10;
  double bias, angle;
  SimulatedModel model;
  Intervention mask;
  std::shared_ptr<const SimulatedModel::States> before, after;
  std::vector<int> signs;
  std::vector<int64_t> all;
};

TEST(Defect, NoiseThatIsNotSharedMissesTheMarkOfPower) {
  const Noisy noisy(
      detectable_shift_pp(754, Noisy::kFlips, Noisy::kDeviation * normal_quantile(0.62), Noisy::kDeviation));
  Rate shared, unshared;
  for (int64_t r = 0; r < 100; ++r) {
    const uint64_t seed = cell_seed(5, "unshared", 0, r);
    const std::vector<Margins> base = noisy.margins(*noisy.before, seed);
    shared.add(noisy.shift(base, noisy.margins(*noisy.after, seed), seed).p_two_sided <= 0.05);
    unshared.add(noisy.shift(base, noisy.margins(*noisy.after, seed + 1), seed).p_two_sided <= 0.05);
  }
  Mark right = power_mark(), mark = power_mark();
  right.see(shared, "shared");
  EXPECT_TRUE(right.passed) << right.value;
  mark.see(unshared, "unshared");
  EXPECT_FALSE(mark.passed) << mark.value;
}

TEST(Defect, WithoutBenjaminiAndHochbergTheMarkOfRejectionIsMissed) {
  const Noisy noisy(0);
  Rate corrected, raw;
  for (int64_t r = 0; r < 80; ++r) {
    const uint64_t seed = cell_seed(6, "family", 0, r);
    const std::vector<Margins> base = noisy.margins(*noisy.before, seed);
    stats::PValues p;  // of eight candidates without an effect
    for (uint64_t k = 1; k <= 8; ++k)
      p.push_back(noisy.shift(base, noisy.margins(*noisy.before, seed + k), seed).p_one_sided);
    const stats::PValues adjusted = stats::benjamini_hochberg(p);
    const auto any = [](const stats::PValues& list) {
      return std::ranges::any_of(list, [](const auto& one) { return *one <= 0.05; });
    };
    corrected.add(any(adjusted));
    raw.add(any(p));
  }
  Mark right = rejection_mark(), mark = rejection_mark();
  right.see(corrected, "adjusted");
  EXPECT_TRUE(right.passed) << right.value;
  mark.see(raw, "as they are");
  EXPECT_FALSE(mark.passed) << mark.value;
}

TEST(Defect, APromptOfTheItemsSearchedOnIsLeftOutAndCounted) {
  ControlStudy control(small_control("X1"));
  OpenPrompts open;
  open.sources.push_back({PromptFamily::kOwn, "own", {}, 2, 0, ""});
  const auto add = [&](SplitPart part, const std::string& id) {
    const int64_t pair = control.study.pairs_in(part).front();
    OpenPrompt prompt;
    prompt.source = "own";
    prompt.id = id;
    prompt.prompt = "the hill1 ka00 lo00 seems";
    prompt.cluster = control.study.pairs[static_cast<size_t>(pair)].pair.cluster;
    open.prompts.push_back(prompt);
  };
  add(SplitPart::kTest, "held-out");
  add(SplitPart::kTrain, "leaked");
  const TransferPrompts kept = make_transfer_prompts(open, control.study, TextEncoder(*control.tokenizer), 64, 0);
  ASSERT_EQ(kept.items.size(), 1u);
  EXPECT_EQ(kept.items[0].open.id, "held-out");
  EXPECT_EQ(kept.sources[0].skipped, 1);
  EXPECT_NE(kept.sources[0].note.find("split"), std::string::npos) << kept.sources[0].note;
}

}  // namespace
}  // namespace fare
