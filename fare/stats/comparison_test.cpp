#include "fare/stats/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/stats/distributions.h"
#include "fare/stats/proportions.h"
#include "fare/stats/self_check.h"

namespace fare::stats {
namespace {

ComparisonOptions few() {
  ComparisonOptions options;
  options.replicates = 2000;
  options.draws = 2000;
  return options;
}

std::vector<double> outcomes(int up, int down, int same, double size = 1) {
  std::vector<double> d(up, size);
  d.resize(up + down, -size);
  d.resize(up + down + same, 0.0);
  return d;
}

TEST(ComparePaired, GivesTheWholeRow) {
  const auto d = outcomes(40, 20, 140);
  const auto got = *compare_paired(d, one_cluster_per_item(200), few());
  EXPECT_DOUBLE_EQ(got.estimate, 0.1);
  EXPECT_EQ(got.increased, 40);
  EXPECT_EQ(got.decreased, 20);
  EXPECT_NEAR(*got.discordance, 0.3, 1e-15);
  EXPECT_NEAR(got.mcnemar->exact_p, mcnemar(40, 20).exact_p, 1e-15);
  EXPECT_NEAR(got.test.p, got.mcnemar->exact_p, 0.01);
  EXPECT_FALSE(got.exact);
  EXPECT_EQ(got.num_effective, 200);
  EXPECT_NEAR(*got.mde, 2.8015852 * std::sqrt(0.3 / 200), 1e-7);
  EXPECT_NEAR(*got.equivalence_margin, 2.9264052 * std::sqrt(0.3 / 200), 1e-7);
  const auto wide = *got.interval(0.95), narrow = *got.interval(0.90);
  EXPECT_LE(wide.low, narrow.low);
  EXPECT_GE(wide.high, narrow.high);
  // Normal approximation: 0.1 +- 1.96 sqrt((0.3 - 0.01)/200).
  EXPECT_NEAR(wide.low, 0.1 - 1.96 * std::sqrt(0.29 / 200), 0.01);
  EXPECT_NEAR(wide.high, 0.1 + 1.96 * std::sqrt(0.29 / 200), 0.01);
}

TEST(ComparePaired, FewDiscordantClustersGetExactBounds) {
  // Nine clusters changed: exact; ten: bootstrap.
  const auto nine = *compare_paired(outcomes(7, 2, 291), one_cluster_per_item(300), few());
  EXPECT_TRUE(nine.exact);
  EXPECT_NEAR(nine.interval(0.90)->high, paired_exact_bounds(7, 2, 300, 0.95)->upper, 1e-15);
  EXPECT_NEAR(nine.interval(0.95)->low, paired_exact_bounds(7, 2, 300, 0.975)->lower, 1e-15);
  EXPECT_FALSE(compare_paired(outcomes(8, 2, 290), one_cluster_per_item(300), few())->exact);
  // Nothing changed: not [0, 0].
  const auto none = *compare_paired(outcomes(0, 0, 298, 100), one_cluster_per_item(298), [] {
    auto options = few();
    options.largest = 100;
    return options;
  }());
  EXPECT_TRUE(none.exact);
  EXPECT_GT(none.interval(0.90)->high, 1.0);
  EXPECT_FALSE(none.mde);
  EXPECT_EQ(none.test.p, 1);
}

// 14 of 754 items changed, all one way: the number of changes of a replicate is binomial, so its limits are known: of
// 90%, quantiles 8 and 20 of Binomial(754, 14/754) by percentiles; at the levels that BCa's formula gives for these
// data (bias correction from the distribution function, acceleration from the leave-one-out means) 9 and 21
// (scipy.stats.binom).
TEST(ComparePaired, BcaIntervalsFollowTheSkewOfFewChanges) {
  auto options = few();
  options.replicates = 50000;
  const auto plain = *compare_paired(outcomes(14, 0, 740), one_cluster_per_item(754), options);
  EXPECT_EQ(plain.interval_method, "cluster bootstrap, percentile");
  options.interval = IntervalKind::kBca;
  const auto corrected = *compare_paired(outcomes(14, 0, 740), one_cluster_per_item(754), options);
  EXPECT_EQ(corrected.interval_method, "cluster bootstrap, BCa");
  EXPECT_NEAR(754 * plain.interval(0.90)->low, 8, 1e-9);
  EXPECT_NEAR(754 * plain.interval(0.90)->high, 20, 1e-9);
  EXPECT_NEAR(754 * corrected.interval(0.90)->low, 9, 1e-9);
  EXPECT_NEAR(754 * corrected.interval(0.90)->high, 21, 1e-9);
  EXPECT_EQ(corrected.test.p, plain.test.p);
  // With few clusters changed the exact bounds stand in for both.
  EXPECT_TRUE(compare_paired(outcomes(7, 2, 291), one_cluster_per_item(300), options)->exact);
}

TEST(ComparePaired, NoVarianceGetsExactBounds) {
  const auto all = *compare_paired(outcomes(50, 0, 0), one_cluster_per_item(50), few());
  EXPECT_TRUE(all.exact);
  EXPECT_NEAR(all.interval(0.90)->low, std::pow(0.05, 1.0 / 50) - (1 - std::pow(0.05, 1.0 / 50)), 1e-12);
  // Real-valued differences without variance and bound have no interval, and the reason is said.
  const auto odd = *compare_paired(std::vector<double>(50, 3.5), one_cluster_per_item(50), few());
  EXPECT_FALSE(odd.interval(0.95));
  EXPECT_FALSE(odd.interval(0.95).reason.empty());
  EXPECT_FALSE(odd.mde) << "no spread is not a spread of 0";
}

// Columns over the same draws: each has what it has alone, but for the test, which only the first is given.
TEST(ComparePaired, ColumnsAreComparedAsAlone) {
  std::vector<double> first, second;
  Clusters clusters;
  clusters.num_clusters = 40;
  for (int i = 0; i < 120; ++i) {
    clusters.of_item.push_back(i / 3);
    first.push_back(i % 4 == 0 ? 1 : i % 7 == 0 ? -1 : 0);
    second.push_back(std::sin(i));
  }
  const auto options = few();
  const auto both = compare_columns({first, second}, clusters, options);
  ASSERT_EQ(both.size(), 2u);
  const auto same = [](const Comparison& a, const Comparison& b) {
    EXPECT_EQ(a.estimate, b.estimate);
    EXPECT_EQ(a.interval(0.9)->low, b.interval(0.9)->low);
    EXPECT_EQ(a.interval(0.95)->high, b.interval(0.95)->high);
  };
  const auto alone = *compare_paired(first, clusters, options), other = *compare_paired(second, clusters, options);
  same(*both[0], alone);
  same(*both[1], other);
  EXPECT_EQ(both[0]->test.p, alone.test.p);
  EXPECT_LT(alone.test.p, 1);
  EXPECT_EQ(both[1]->test.p, 1);
}

// A tie counts half, so a preference that is evened exactly moves every item by half of what it could have moved. The
// bounds must hold the estimate: half of the limits of 584 of 584, and half of those of 0 of 584.
TEST(ComparePaired, ExactBoundsOfHalfDifferencesHoldTheEstimate) {
  auto options = few();
  options.largest = 100;
  const auto got = *compare_paired(std::vector<double>(584, 50.0), one_cluster_per_item(584), options);
  EXPECT_TRUE(got.exact);
  const auto all = *got.interval(0.95);
  const double tail = std::pow(0.025 / 2, 1.0 / 584);  // Clopper-Pearson, of 584 of 584 and of 0, each at half of 2.5%
  EXPECT_NEAR(all.low, 50 * (tail - (1 - tail)) - 50 * (1 - tail), 1e-9);
  EXPECT_NEAR(all.high, 50 + 50 * (1 - tail), 1e-9);
  // Three clusters of four in which one item changed: the mean is 1.25, a cluster's change is a quarter of what it
  // could be.
  std::vector<double> d(240, 0.0);
  Clusters clusters;
  clusters.num_clusters = 60;
  for (int i = 0; i < 240; ++i) clusters.of_item.push_back(i / 4);
  d[0] = d[4] = d[8] = 100;
  const auto partly = *compare_paired(d, clusters, options);
  const auto interval = *partly.interval(0.95);
  const auto lower = *paired_exact_bounds(3, 0, 60, 1 - 0.0125), upper = *paired_exact_bounds(0, 0, 60, 1 - 0.0125);
  EXPECT_NEAR(interval.low, 25 * lower.lower + 75 * upper.lower, 1e-9);
  EXPECT_NEAR(interval.high, 25 * lower.upper + 75 * upper.upper, 1e-9);
  // Unequal clusters: the mean of items is not that of clusters; the bounds stand around it.
  clusters = {};
  clusters.num_clusters = 50;
  d.assign(0, 0);
  for (int c = 0; c < 50; ++c)
    for (int i = 0; i < (c == 0 ? 20 : 1); ++i) clusters.of_item.push_back(c), d.push_back(c == 0 ? 100 : 0);
  const auto uneven = *compare_paired(d, clusters, options);
  EXPECT_LT(uneven.interval(0.95)->low, uneven.estimate);
  EXPECT_GT(uneven.interval(0.95)->high, uneven.estimate);
}

// Log-likelihoods have no bound: exact bounds cannot stand in, however few items changed.
TEST(ComparePaired, WithoutAKnownBoundOnlyTheBootstrapSpeaks) {
  auto options = few();
  options.largest = INFINITY;
  auto d = outcomes(3, 2, 95);
  d[0] = 0.25;
  const auto got = *compare_paired(d, one_cluster_per_item(100), options);
  EXPECT_FALSE(got.exact);
  EXPECT_TRUE(got.interval(0.95));
  EXPECT_FALSE(got.mcnemar);
  EXPECT_GT(*got.mde, 0);
  const auto none = *compare_paired(outcomes(0, 0, 50), one_cluster_per_item(50), options);
  EXPECT_FALSE(none.interval(0.95));
  EXPECT_FALSE(none.detectable_effect());
}

TEST(ComparePaired, ScalesWithPoints) {
  auto options = few();
  options.largest = 100;
  const auto points = *compare_paired(outcomes(40, 20, 140, 100), one_cluster_per_item(200), options);
  const auto shares = *compare_paired(outcomes(40, 20, 140), one_cluster_per_item(200), few());
  EXPECT_NEAR(*points.mde, 100 * *shares.mde, 1e-12);
  EXPECT_NEAR(*points.equivalence_margin, 100 * *shares.equivalence_margin, 1e-12);
  EXPECT_NEAR(points.interval(0.95)->low, 100 * shares.interval(0.95)->low, 1e-9);
  EXPECT_TRUE(points.mcnemar);
}

TEST(ComparePaired, ClustersLowerTheEffectiveNumber) {
  // Copies inside clusters of 4 carry no information of their own.
  std::vector<double> d;
  Clusters clusters;
  clusters.num_clusters = 60;
  for (int c = 0; c < 60; ++c) {
    for (int i = 0; i < 4; ++i) {
      d.push_back(c % 3 == 0 ? 1 : c % 7 == 0 ? -1 : 0);
      clusters.of_item.push_back(c);
    }
  }
  const auto got = *compare_paired(d, clusters, few());
  EXPECT_NEAR(*got.icc, 1, 1e-12);
  EXPECT_NEAR(got.num_effective, 60, 1e-9);
  const auto naive = *compare_paired(d, one_cluster_per_item(240), few());
  EXPECT_GT(got.interval(0.95)->high - got.interval(0.95)->low,
            1.6 * (naive.interval(0.95)->high - naive.interval(0.95)->low));
}

TEST(ComparePaired, RealValuedDifferencesUseTheirSpread) {
  const RandomStream stream(1, "test/margins");
  std::vector<double> d(300);
  for (size_t i = 0; i < d.size(); ++i) d[i] = 0.2 + 3 * normal_draw(stream, i);
  const auto got = *compare_paired(d, one_cluster_per_item(300), few());
  EXPECT_FALSE(got.mcnemar);
  EXPECT_FALSE(got.discordance);
  EXPECT_NEAR(*got.mde, 2.8015852 * *got.sd / std::sqrt(300), 1e-6);
  EXPECT_NEAR(*got.dz, got.estimate / *got.sd, 1e-12);
}

TEST(ComparePaired, RefusesBadInput) {
  EXPECT_FALSE(compare_paired({}, one_cluster_per_item(0), few()));
  EXPECT_THROW(compare_paired(std::vector<double>{1, 0}, one_cluster_per_item(3), few()), UsageError);
  EXPECT_THROW(compare_paired(std::vector<double>{1, NAN}, one_cluster_per_item(2), few()), NumericError);
}

TEST(SelfChecks, PassInThisBuild) {
  for (const auto& check : run_self_checks({})) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.value << ", expected " << check.expected << ", Wilson ["
                              << check.low << ", " << check.high << "]";
  }
  EXPECT_THROW(run_self_checks({.simulations = 10}), UsageError);
}

TEST(SelfChecks, DoNotDependOnThreads) {
  const auto one = run_self_checks({.seed = 5, .simulations = 200, .num_threads = 1});
  const auto many = run_self_checks({.seed = 5, .simulations = 200, .num_threads = 16});
  ASSERT_EQ(one.size(), many.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i].value, many[i].value) << one[i].name;
}

// A diagnosis bootstraps hundreds of times: 10,000 replicates of 1,000 clusters must stay far below a second.
TEST(Speed, TenThousandReplicatesOfAThousandClusters) {
#ifndef NDEBUG
  GTEST_SKIP() << "timed in release builds only";
#endif
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "timed without sanitizers only";
#endif
  std::vector<double> d(1000);
  for (size_t i = 0; i < d.size(); ++i) d[i] = static_cast<double>(i % 3) - 1;
  const auto seconds = [] {  // of this thread's own work, whatever else the machine does
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const double start = seconds();
  const auto got = bootstrap_mean(d, {});
  EXPECT_EQ(got.replicates.size(), 10000u);
  EXPECT_LT(seconds() - start, 0.5);
}

}  // namespace
}  // namespace fare::stats
