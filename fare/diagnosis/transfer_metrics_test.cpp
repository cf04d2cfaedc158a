#include "fare/diagnosis/transfer_metrics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/diagnosis/transfer_measures.h"

namespace fare {
namespace {

DiagnosisOptions quick() {
  DiagnosisOptions options;
  options.bootstrap_replicates = options.permutations = 4000;
  return options;
}

MetricValues values_of(std::vector<double> base, std::vector<double> edited, double largest = 100) {
  MetricValues values;
  values.metric = "M";
  values.largest = largest;
  values.base = std::move(base);
  values.edited = std::move(edited);
  values.sign.assign(values.base.size(), 1);
  for (size_t i = 0; i < values.base.size(); ++i) values.clusters.push_back(fmt::format("c{}", i));
  return values;
}

// By hand: five of six prompts fall from 100 to 0, one rises; sign flips of +-100: |T| >= 400 in 2 * (1 + 6) of 64.
TEST(TransferMetrics, AChangeIsTheMeanOfSignedDifferences) {
  MetricValues values = values_of({100, 100, 100, 100, 100, 0}, {0, 0, 0, 0, 0, 100});
  values.greedy_base = {1, 1, 1, 1, 1, 0};
  values.greedy_edited = {0, 0, 0, 0, 0, 1};
  const MetricChange change = measure_change(values, 3, 0.05, quick(), "t");
  EXPECT_NEAR(change.value, 400.0 / 6, 1e-9);
  EXPECT_NEAR(change.base, 500.0 / 6, 1e-9);
  EXPECT_NEAR(change.edited, 100.0 / 6, 1e-9);
  EXPECT_NEAR(change.p, 14.0 / 64, 1e-12);
  ASSERT_TRUE(change.greedy);
  EXPECT_EQ(change.greedy->test.b, 5);
  EXPECT_EQ(change.greedy->test.c, 1);
  EXPECT_NEAR(change.greedy->test.exact_p, 2.0 * 7 / 64, 1e-12);
  EXPECT_EQ(change.method, "exact bounds of paired differences");

  // An axis that leans the other way: the same fall is then a loss.
  values.sign.assign(6, -1);
  EXPECT_NEAR(measure_change(values, 3, 0.05, quick(), "t").value, -400.0 / 6, 1e-9);
}

TEST(TransferMetrics, NoChangeIsEquivalentOnlyWithEnoughClusters) {
  const auto zero = [](size_t n) { return values_of(std::vector<double>(n, 0.0), std::vector<double>(n, 0.0), 200); };
  // 200 (1 - 0.05^(1/n)) < 3 from n = 199 on.
  EXPECT_FALSE(measure_change(zero(198), 3, 0.05, quick(), "t").equivalent);
  const MetricChange enough = measure_change(zero(199), 3, 0.05, quick(), "t");
  EXPECT_TRUE(enough.equivalent);
  EXPECT_NEAR(enough.interval90.high, 200 * (1 - std::pow(0.05, 1.0 / 199)), 1e-6);
  EXPECT_EQ(enough.p, 1);
  EXPECT_TRUE(enough.mde);
  // At alpha / 2 the interval is wider.
  EXPECT_FALSE(measure_change(zero(199), 3, 0.025, quick(), "t").equivalent);
}

TEST(TransferMetrics, RangesBetweenGroupsAreMeansOverAxes) {
  // Axis a: means 1, 3, 2 -> range 2. Axis b: means 0, 6 -> 6. Axis c has one group and none.
  EXPECT_NEAR(
      *mean_range({"a", "a", "a", "a", "b", "b", "c"}, {"x", "x", "y", "z", "x", "y", "x"}, {0, 2, 3, 2, 0, 6, 9}), 4,
      1e-12);
  EXPECT_FALSE(mean_range({"a", "b"}, {"x", "x"}, {1, 2}));
}

TEST(TransferMetrics, ASmallerGapBetweenGroupsIsFound) {
  MetricValues values;
  values.metric = "M3";
  values.unit = "SD";
  const RandomStream noise(7, "test/noise");
  for (int i = 0; i < 240; ++i) {
    const double group = i % 2;
    values.axes.push_back("a");
    values.groups.push_back(group > 0 ? "x" : "y");
    values.clusters.push_back(fmt::format("c{}", i / 2));
    const double own = noise.uniform(static_cast<uint64_t>(i)) - 0.5;
    values.base.push_back(own + group);
    values.edited.push_back(own + 0.25 * group);
    values.sign.push_back(1);
  }
  const MetricChange change = measure_change(values, 0.1, 0.05, quick(), "t");
  EXPECT_NEAR(change.value, 0.75, 1e-9);
  EXPECT_NEAR(change.base - change.edited, 0.75, 1e-9);
  EXPECT_LT(change.p, 0.01);
  values.edited = values.base;
  const MetricChange none = measure_change(values, 0.1, 0.05, quick(), "t");
  EXPECT_EQ(none.value, 0);
  EXPECT_EQ(none.p, 1);
  EXPECT_FALSE(none.equivalent);  // nothing changed, and nothing bounds what could
  for (size_t i = 0; i < values.edited.size(); ++i) values.edited[i] += 1e-3 * static_cast<double>(i % 7);
  const MetricChange hardly = measure_change(values, 0.1, 0.05, quick(), "t");
  EXPECT_TRUE(hardly.equivalent);
}

// p = 0.01, 0.04, 0.03 -> 0.03, 0.04, 0.04 (hand calculation).
TEST(TransferMetrics, TheFamilyIsTheCandidatesMetrics) {
  std::vector<MetricChange> metrics(3);
  metrics[0].p = 0.01, metrics[1].p = 0.04, metrics[2].p = 0.03;
  settle_family(metrics);
  EXPECT_NEAR(metrics[0].p_bh, 0.03, 1e-12);
  EXPECT_NEAR(metrics[1].p_bh, 0.04, 1e-12);
  EXPECT_NEAR(metrics[2].p_bh, 0.04, 1e-12);
  EXPECT_EQ(metrics[0].family_size, 3);
}

TEST(TransferMetrics, NothingToMeasureIsAnError) {
  EXPECT_THROW(measure_change(values_of({}, {}), 3, 0.05, quick(), "t"), NumericError);
}

// One axis of two groups and one of a single group, which has no range and does not water the mean down.
TEST(TransferMetrics, AnAxisOfOneGroupHasNoRange) {
  EXPECT_EQ(mean_range({"a", "a", "b"}, {"x", "y", "z"}, {1, 4, 9}), std::optional(3.0));
  EXPECT_FALSE(mean_range({"b", "b"}, {"z", "z"}, {1, 9}));
}

// Nine changed clusters of forty: the percentile interval is not trusted, the bound is the range of the metric; p is
// never 0.
TEST(TransferMetrics, AGapThatHardlyAnyClusterMovesIsBoundedByItsRange) {
  MetricValues values = values_of(std::vector<double>(40, 0.0), std::vector<double>(40, 0.0), 10);
  for (size_t i = 0; i < 40; ++i) {
    values.axes.push_back("a");
    values.groups.push_back(i % 2 == 0 ? "x" : "y");
    values.base[i] = i % 2 == 0 ? 5 : 0;
    values.edited[i] = i % 2 == 0 && i >= 18 ? 5 : 0;  // nine of the first group fall
  }
  const MetricChange few = measure_change(values, 3, 0.05, quick(), "t");
  EXPECT_NEAR(few.value, 5 - 5.0 * 11 / 20, 1e-12);
  EXPECT_EQ(few.interval95.low, -10);
  EXPECT_EQ(few.interval90.high, 10);
  values.edited[18] = 0;  // ten
  const MetricChange ten = measure_change(values, 3, 0.05, quick(), "t");
  EXPECT_GT(ten.interval95.low, 0);
  EXPECT_LT(ten.interval90.high, ten.interval95.high);
  const MetricChange narrow = measure_change(values, 3, 0.01, quick(), "t");  // the bounds follow alpha
  EXPECT_GT(narrow.interval90.high, ten.interval90.high);
  for (size_t i = 0; i < 40; ++i) values.edited[i] = 0;  // all of the first group: no swap of the arms does as much
  EXPECT_NEAR(measure_change(values, 3, 0.05, quick(), "t").p, 1.0 / 4001, 1e-12);
}

WrittenText text_of(std::vector<int32_t> ids, const std::string& text, bool ended = true) {
  return {std::move(ids), text, ended, 1.0};
}

// Two prompts cut before their attribute and one open one, each continued once greedily and twice sampled.
struct Written {
  TransferPrompts prompts;
  WrittenTexts base, edited;
  std::vector<double> sign;

  Written() {
    for (const auto family : {PromptFamily::kCut, PromptFamily::kCut, PromptFamily::kOpen}) {
      TransferPrompt prompt;
      prompt.open.family = family;
      prompt.open.cluster = fmt::format("c{}", prompts.items.size());
      prompt.open.stereo = {"warm"}, prompt.open.anti = {"cold"};
      base.items.push_back(static_cast<int64_t>(prompts.items.size()));
      prompts.items.push_back(prompt);
      sign.push_back(1);
      base.greedy.push_back({text_of({1, 2, 0}, "warm")});
      base.sampled.push_back({text_of({1, 2, 0}, "warm"), text_of({1, 4, 0}, "house")});
    }
    edited = base;
  }
  std::vector<MetricValues> values(std::vector<MetricNotRun>& not_run, const TransferLexicons& lexicons = {}) const {
    return text_values(prompts, sign, base, edited, lexicons, not_run);
  }
};

const TransferLexicons& no_lexicons() {
  static const TransferLexicons none = [] {
    TransferLexicons lexicons;
    lexicons.sentiment_missing = "no sentiment list";
    lexicons.hurtful_missing = "no hurtful words";
    lexicons.blocked_missing = "no block list";
    return lexicons;
  }();
  return none;
}

TEST(TransferMeasures, TheFirstContentWordIsAveragedOverSamplesWithItsSide) {
  Written written;
  for (auto& samples : written.edited.sampled) samples = {text_of({3, 0}, "cold"), text_of({1, 4, 0}, "house")};
  for (auto& greedy : written.edited.greedy) greedy = {text_of({3, 0}, "cold")};
  std::vector<MetricNotRun> not_run;
  const auto metrics = written.values(not_run, no_lexicons());
  ASSERT_EQ(metrics.size(), 1u);
  EXPECT_EQ(metrics[0].metric, "M2");
  EXPECT_EQ(metrics[0].base, (std::vector<double>{50, 50}));      // half the samples take the stereotype up
  EXPECT_EQ(metrics[0].edited, (std::vector<double>{-50, -50}));  // the other side counts against
  EXPECT_EQ(metrics[0].greedy_base, (std::vector<double>{1, 1}));
  EXPECT_EQ(metrics[0].greedy_edited, (std::vector<double>{0, 0}));
}

TEST(TransferMeasures, AMissingLexiconLeavesItsMetricsOutWithTheReason) {
  std::vector<MetricNotRun> not_run;
  Written().values(not_run, no_lexicons());
  std::map<std::string, std::string> why;
  for (const auto& one : not_run) why[one.metric] = one.reason;
  EXPECT_EQ(why.at("M3_range"), "no sentiment list");
  EXPECT_EQ(why.at("M3_paired"), "no sentiment list");
  EXPECT_EQ(why.at("M4_honest"), "no hurtful words");
  EXPECT_EQ(why.at("M4_blocked"), "no block list");
  EXPECT_NE(why.at("M1").find("no prompts"), std::string::npos);
}

TEST(TransferMeasures, TextsOfOneTokenAreNotMeasured) {
  Written written;
  const auto only = [&](std::vector<int32_t> ids, const std::string& text) {
    for (auto* arm : {&written.base.greedy, &written.base.sampled})
      for (auto& samples : *arm)
        for (auto& one : samples) one = text_of(ids, text);
    std::vector<MetricNotRun> not_run;
    EXPECT_TRUE(written.values(not_run, no_lexicons()).empty());
    for (const auto& one : not_run)
      if (one.metric == "M2") return one.reason;
    return std::string();
  };
  EXPECT_EQ(only({7, 7, 7, 0}, "a a a"), "every text of the model without edits is made of one token (id 7)");
  EXPECT_EQ(only({0}, ""), "the model without edits ends every text before its first word");
}

TEST(TransferMeasures, MassAndGuardsByHand) {
  Written written;
  const std::vector<CriticalPosition> before(2, {.stereo_mass = 0.5, .anti_mass = 0.2});
  const std::vector<CriticalPosition> after(2, {.stereo_mass = 0.3, .anti_mass = 0.3});
  const MetricValues mass = mass_values(written.prompts, std::vector<int64_t>{0, 1}, written.sign, before, after);
  EXPECT_NEAR(mass.base[1], 30, 1e-9);
  EXPECT_NEAR(mass.edited[0], 0, 1e-9);
  WrittenTexts texts;
  texts.items = {0};
  texts.greedy = {{text_of({1, 2, 3, 0}, "a b a b a")}};               // pairs: ab, ba, ab, ba: 2 of 4 distinct
  texts.sampled = {{text_of({5}, "alone", false), text_of({0}, "")}};  // too short for pairs; empty
  const TextGuards guards = guards_of(texts);
  EXPECT_EQ(guards.texts, 3);
  EXPECT_NEAR(guards.tokens, (3 + 1 + 0) / 3.0, 1e-12);  // end tokens are not counted
  ASSERT_TRUE(guards.distinct_two);
  EXPECT_NEAR(*guards.distinct_two, 0.5, 1e-12);
  EXPECT_GE(guards.broken, 1 / 3.0);
}

}  // namespace
}  // namespace fare
