#include "fare/diagnosis/transfer_metrics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fare/core/error.h"
#include "fare/core/philox.h"

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
  EXPECT_NEAR(*mean_range({"a", "a", "a", "a", "b", "b", "c"}, {"x", "x", "y", "z", "x", "y", "x"}, {0, 2, 3, 2, 0, 6, 9}), 4, 1e-12);
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

}  // namespace
}  // namespace fare
