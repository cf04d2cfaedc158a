// Hand-computed cases: clusters, effects, equivalence, power, divergence, search effort, harness errors.
#include <gtest/gtest.h>
#include <numbers>

#include <cmath>

#include "fare/core/error.h"
#include "fare/stats/clusters.h"
#include "fare/stats/divergence.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/equivalence.h"
#include "fare/stats/harness_stderr.h"
#include "fare/stats/moments.h"
#include "fare/stats/paired_t.h"
#include "fare/stats/power.h"
#include "fare/stats/ranks.h"
#include "fare/stats/search_effort.h"

namespace fare::stats {
namespace {

const std::vector<std::string> kPairsOfTwo = {"a", "a", "b", "b", "c", "c"};

TEST(Clusters, NumberInOrderOfAppearance) {
  const std::vector<std::string> names = {"z", "a", "z", "b"};
  const auto got = cluster_by_name(names);
  EXPECT_EQ(got.of_item, (std::vector<int32_t>{0, 1, 0, 2}));
  EXPECT_EQ(got.names, (std::vector<std::string>{"z", "a", "b"}));
  EXPECT_EQ(got.sizes(), (std::vector<double>{2, 1, 1}));
  EXPECT_EQ(cluster_sums(std::vector<double>{1, 2, 3, 4}, got), (std::vector<double>{4, 2, 4}));
}

TEST(ClusteredError, ByHand) {
  // Means 1, 3, 5 around 3; residual sums -4, 0, 4: CR0 = sqrt(32)/6, CR1 = CR0 sqrt(3/2). MSB = 16/2, MSW = 0 + 0 + 0.
  const std::vector<double> x = {1, 1, 3, 3, 5, 5};
  const auto got = *clustered_error(x, cluster_by_name(kPairsOfTwo));
  EXPECT_NEAR(got.se_cr0, std::sqrt(32.0) / 6, 1e-15);
  EXPECT_NEAR(got.se_cr1, std::sqrt(48.0) / 6, 1e-15);
  EXPECT_NEAR(got.anova.ms_between, 8, 1e-15);
  EXPECT_NEAR(*got.anova.icc, 1, 1e-15);
  EXPECT_EQ(got.df, 2);
  EXPECT_GT(*got.ratio(), 1);
  EXPECT_FALSE(clustered_error(std::vector<double>{1, 2}, cluster_by_name(std::vector<std::string>{"a", "a"})));
}

TEST(EffectiveItems, ShrinkWithTheCorrelationInsideClusters) {
  const auto clusters = cluster_by_name(kPairsOfTwo);
  EXPECT_DOUBLE_EQ(effective_items(clusters, 1.0), 3);
  EXPECT_DOUBLE_EQ(effective_items(clusters, 0.5), 4);
  EXPECT_DOUBLE_EQ(effective_items(clusters, -0.4), 6);  // never more than the items
  EXPECT_DOUBLE_EQ(effective_items(clusters, Outcome<double>::undefined("no variance")), 3);
  EXPECT_DOUBLE_EQ(effective_items(one_cluster_per_item(7), Outcome<double>::undefined("one item each")), 7);
}

TEST(Anova, UnequalClustersByHand) {
  // Clusters {0, 2} and {4, 5, 6, 5}: grand mean 22/6, n0 = 6 - (4 + 16)/6.
  const std::vector<std::string> names = {"a", "a", "b", "b", "b", "b"};
  const auto got = *one_way_anova(std::vector<double>{0, 2, 4, 5, 6, 5}, cluster_by_name(names));
  const double grand = 22.0 / 6;
  const double msb = 2 * (1 - grand) * (1 - grand) + 4 * (5 - grand) * (5 - grand), msw = (2.0 + 2.0) / 4;
  EXPECT_NEAR(got.n0, 6 - 20.0 / 6, 1e-14);
  EXPECT_NEAR(got.ms_between, msb, 1e-12);
  EXPECT_NEAR(*got.ms_within, msw, 1e-12);
  EXPECT_NEAR(*got.icc, (msb - msw) / (msb + (got.n0 - 1) * msw), 1e-14);
}

TEST(Anova, SaysWhatIsUndefined) {
  const auto single = *one_way_anova(std::vector<double>{1, 2, 3}, one_cluster_per_item(3));
  EXPECT_FALSE(single.ms_within);
  EXPECT_FALSE(single.icc);
  const auto flat = *one_way_anova(std::vector<double>(6, 0.1), cluster_by_name(kPairsOfTwo));
  EXPECT_FALSE(flat.icc);
  EXPECT_EQ(flat.icc.reason, "the values do not vary");
}

TEST(Seeds, UnequalNumbersWeighPromptsEqually) {
  const auto got = *analyse_seeds({{1, 1, 1, 1}, {0, 0}});
  EXPECT_DOUBLE_EQ(got.mean_of_means, 0.5);
  EXPECT_DOUBLE_EQ(got.ratio_of_sums, 4.0 / 6);
  EXPECT_THROW(analyse_seeds({{1}, {}}), UsageError);
  EXPECT_FALSE(analyse_seeds({{1, 2}}));
  EXPECT_FALSE(analyse_seeds({{1}, {2}})->var_within);
}

TEST(RatioOfSums, DeltaMethodByHand) {
  // R = 6/4; residuals 1 - 1.5, 2 - 1.5, 3 - 3 (Y = 1, 1, 2): squares 0.5; se = sqrt(3/2 * 0.5)/4.
  const auto got = *ratio_of_sums(std::vector<double>{1, 2, 3}, std::vector<double>{1, 1, 2});
  EXPECT_DOUBLE_EQ(got.ratio, 1.5);
  EXPECT_NEAR(got.se, std::sqrt(0.75) / 4, 1e-15);
  EXPECT_FALSE(ratio_of_sums(std::vector<double>{1, 2}, std::vector<double>{0, 0}));
}

TEST(PairedDz, ZeroVarianceIsZeroOrUndefined) {
  EXPECT_NEAR(*paired_dz(std::vector<double>{1, 2, 3}), 2, 1e-15);
  EXPECT_EQ(*paired_dz(std::vector<double>{0, 0, 0}), 0);
  EXPECT_EQ(paired_dz(std::vector<double>{0.1, 0.1, 0.1}).reason, "no variance");
  EXPECT_FALSE(paired_dz(std::vector<double>{1}));
  EXPECT_NEAR(hedges_factor(12), 1 - 3.0 / 43, 1e-15);
}

TEST(RatioOfMeans, ZeroOverZeroIsUndefined) {
  EXPECT_DOUBLE_EQ(*ratio_of_means(std::vector<double>{2, 4}, std::vector<double>{1, 2}), 2);
  EXPECT_NE(ratio_of_means(std::vector<double>{0}, std::vector<double>{0}).reason.find("0/0"), std::string::npos);
  EXPECT_FALSE(ratio_of_means(std::vector<double>{1}, std::vector<double>{0}));
}

TEST(CliffsDelta, CountsAllCrossPairs) {
  // 1 < 2 (-), 3 > 2 (+), 3 > 2 (+): ties count for neither side.
  EXPECT_NEAR(*cliffs_delta(std::vector<double>{1, 3, 2}, std::vector<double>{2}), 0, 1e-15);
  EXPECT_FALSE(cliffs_delta({}, std::vector<double>{1}));
}

TEST(Equivalence, AllFourVerdicts) {
  EXPECT_EQ(effect_verdict({0.5, 3}, {0.7, 2.8}, 1), EffectVerdict::kDifferent);
  EXPECT_EQ(effect_verdict({-0.5, 0.9}, {-0.4, 0.8}, 1), EffectVerdict::kEquivalent);
  EXPECT_EQ(effect_verdict({0.1, 0.9}, {0.2, 0.8}, 1), EffectVerdict::kBoth);
  EXPECT_EQ(effect_verdict({-2, 2}, {-1.5, 1.5}, 1), EffectVerdict::kUndecided);
  EXPECT_EQ(effect_verdict_name(EffectVerdict::kUndecided), "undecided");
  // The interval must lie strictly inside.
  EXPECT_FALSE(equivalent_within({-1, 0.5}, 1));
  EXPECT_THROW(equivalent_within({-1, 1}, 0), UsageError);
}

TEST(Equivalence, NonInferiorityHasThreeAnswers) {
  EXPECT_EQ(non_inferiority({-0.2, 1.0}, 1), NonInferiority::kYes);
  EXPECT_EQ(non_inferiority({-0.2, 1.01}, 1), NonInferiority::kUnresolved);
  EXPECT_EQ(non_inferiority({1.01, 3}, 1), NonInferiority::kNo);
}

TEST(Tost, IntervalAndPValueAgree) {
  const auto inside = *tost(0.1, 0.2, 19.0, 0.5, 0.05);
  EXPECT_TRUE(inside.equivalent);
  EXPECT_LT(inside.p, 0.05);
  const auto outside = *tost(0.3, 0.2, std::nullopt, 0.5, 0.05);
  EXPECT_FALSE(outside.equivalent);
  EXPECT_NEAR(outside.p, 0.15865525393145707, 1e-12);  // one standard error below the margin
  EXPECT_FALSE(tost(0, 0, 5.0, 0.5, 0.05));
  EXPECT_THROW(tost(0, 1, 5.0, -1, 0.05), UsageError);
  EXPECT_THROW(tost(0, 1, 5.0, 1, 0.6), UsageError);
}

TEST(PairedT, UndefinedWithoutVariance) {
  EXPECT_FALSE(paired_t(std::vector<double>(5, 0.1), 0.95));
  EXPECT_FALSE(paired_t(std::vector<double>{1}, 0.95));
  EXPECT_THROW(differences(std::vector<double>{1}, std::vector<double>{1, 2}), UsageError);
}

// MDE and reachable margin in points at 5% and 80%, as the method specification prints them.
TEST(Power, TableOfDetectableEffectsAndMargins) {
  struct Row {
    double n, p_d, mde, margin;
  };
  for (const Row& row : {Row{300, 0.02, 2.3, 2.4}, Row{754, 0.10, 3.2, 3.4}, Row{817, 0.20, 4.4, 4.6},
                         Row{1508, 0.05, 1.6, 1.7}, Row{5000, 0.20, 1.8, 1.9}}) {
    EXPECT_NEAR(100 * *minimum_detectable_effect(std::sqrt(row.p_d), row.n), row.mde, 0.05);
    EXPECT_NEAR(100 * *smallest_equivalence_margin(std::sqrt(row.p_d), row.n), row.margin, 0.05);
  }
}

TEST(Power, UnattainableAndUnknownAreSaid) {
  EXPECT_NE(minimum_detectable_shift(0.02, 164).reason.find("unattainable"), std::string::npos);
  EXPECT_FALSE(minimum_detectable_shift(0, 164));
  EXPECT_FALSE(minimum_detectable_effect(1, 0));
  EXPECT_EQ(items_needed(0.45, 0.02), 3974);
}

TEST(Power, ItemsForNonInferiority) {
  EXPECT_EQ(items_for_non_inferiority(0, 0.01), 299);
  EXPECT_EQ(items_for_non_inferiority(0.001, 0.01), 299);
  EXPECT_NEAR(static_cast<double>(items_for_non_inferiority(0.1, 0.01)), 10800, 50);  // about 108,000 p_d
}

TEST(Divergence, ByHand) {
  const std::vector<double> p = {1, 0}, q = {0.5, 0.5};
  // H(3/4, 1/4) - H(1/2, 1/2)/2
  const double want = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25)) - std::log(2.0) / 2;
  EXPECT_NEAR(jensen_shannon_nats(p, q), want, 1e-15);
  EXPECT_NEAR(*jensen_shannon_of_counts_nats(std::vector<double>{7, 0}, std::vector<double>{3, 3}), want, 1e-15);
  EXPECT_FALSE(jensen_shannon_of_counts_nats(std::vector<double>{0, 0}, std::vector<double>{3, 3}));
  EXPECT_THROW(jensen_shannon_nats(p, std::vector<double>{0.5, 0.6}), NumericError);
  EXPECT_THROW(jensen_shannon_nats(p, std::vector<double>{1.5, -0.5}), NumericError);
  EXPECT_THROW(jensen_shannon_nats(p, std::vector<double>{1}), UsageError);
}

TEST(Divergence, SmallDifferencesKeepTheirDigits) {
  const double e = 1e-7;
  const std::vector<double> p = {0.5 + e, 0.5 - e}, q = {0.5 - e, 0.5 + e};
  EXPECT_NEAR(jensen_shannon_nats(p, q) / (2 * e * e), 1, 1e-2);
}

TEST(DivergencePermutation, EnumeratesByHand) {
  // Two prompts, disjoint sides: no swap or both leave ln 2; one swap makes the sides equal. p = 2/4, null mean ln 2
  // / 2.
  const auto got = *permute_divergence({{3, 0}, {3, 0}}, {{0, 3}, {0, 3}}, {});
  EXPECT_EQ(got.extreme, 2);
  EXPECT_EQ(got.total, 4);
  EXPECT_EQ(got.p, 0.5);
  EXPECT_NEAR(got.observed_nats, std::log(2.0), 1e-15);
  EXPECT_NEAR(got.null_mean_nats, std::log(2.0) / 2, 1e-15);
}

TEST(DivergencePermutation, MonteCarloIsNearTheEnumeration) {
  std::vector<std::vector<double>> a, b;
  for (int g = 0; g < 12; ++g) {
    a.push_back({5.0 + g % 3, 2, 1});
    b.push_back({4, 2.0 + g % 4, 1});
  }
  const auto exact = *permute_divergence(a, b, {});
  EXPECT_TRUE(exact.exact);
  EXPECT_EQ(exact.total, 4096);
  DivergencePermutationOptions options;
  options.max_exact_prompts = 0;
  const auto drawn = *permute_divergence(a, b, options);
  EXPECT_FALSE(drawn.exact);
  EXPECT_NEAR(drawn.p, exact.p, 0.02);
  EXPECT_NEAR(drawn.null_mean_nats, exact.null_mean_nats, 0.05 * exact.null_mean_nats);
  EXPECT_FALSE(permute_divergence({}, {}, {}));
  EXPECT_THROW(permute_divergence({{1, 2}}, {{1}}, {}), UsageError);
}

TEST(Ranks, TiesAndConstants) {
  EXPECT_EQ(average_ranks(std::vector<double>{10, 20, 10, 5}), (std::vector<double>{2.5, 4, 2.5, 1}));
  EXPECT_DOUBLE_EQ(*spearman(std::vector<double>{1, 2, 3}, std::vector<double>{1, 8, 27}), 1);
  EXPECT_DOUBLE_EQ(*spearman(std::vector<double>{1, 2, 3}, std::vector<double>{3, 2, 1}), -1);
  EXPECT_FALSE(spearman(std::vector<double>{1, 2, 3}, std::vector<double>{5, 5, 5}));
  EXPECT_THROW(average_ranks(std::vector<double>{1, NAN}), NumericError);
  // What z explains completely leaves nothing to correlate.
  const std::vector<double> z = {1, 2, 3, 4, 5}, y = {2, 1, 4, 3, 5};
  EXPECT_FALSE(partial_spearman(z, y, {z}));
}

TEST(SearchEffort, ExpectedMaximumOfNormals) {
  // Closed forms (David and Nagaraja, Order Statistics, 3rd edition, 3.2), then tabled values (Teichroew 1956).
  EXPECT_NEAR(expected_max_of_normals(1), 0, 1e-12);
  EXPECT_NEAR(expected_max_of_normals(2), 1 / std::sqrt(std::numbers::pi), 1e-9);
  EXPECT_NEAR(expected_max_of_normals(3), 1.5 / std::sqrt(std::numbers::pi), 1e-9);
  EXPECT_NEAR(expected_max_of_normals(10), 1.5387527308, 1e-9);
  EXPECT_NEAR(expected_max_of_normals(20), 1.8674750598, 1e-9);
  EXPECT_THROW(expected_max_of_normals(0), UsageError);
  // Best of 300 independent and 100 correlated (0.7) configurations without effect at a discordance of 10% (methods
  // F7).
  const double se_400 = 100 * std::sqrt(0.1 / 400), se_1508 = 100 * std::sqrt(0.1 / 1508);
  EXPECT_NEAR(se_400 * expected_max_of_normals(300), 4.6, 0.08);
  EXPECT_NEAR(se_1508 * expected_max_of_normals(300), 2.3, 0.08);
  EXPECT_NEAR(se_400 * std::sqrt(1 - 0.7) * expected_max_of_normals(100), 2.2, 0.08);
}

TEST(SearchEffort, ExpectedBestByHand) {
  const std::vector<double> v = {3, 1, 2};
  EXPECT_NEAR(*expected_best(v, 1), 2, 1e-15);
  EXPECT_NEAR(*expected_best(v, 2), (2 + 3 + 3) / 3.0, 1e-15);
  EXPECT_NEAR(*expected_best(v, 3), 3, 1e-15);
  EXPECT_FALSE(expected_best(v, 4));
  EXPECT_FALSE(expected_best(v, 0));
  std::vector<double> many(1440);
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i % 37);
  EXPECT_LE(*expected_best(many, 700), 36.0 + 1e-12);
}

TEST(SearchEffort, PassAtKSaysWhenSamplesAreTooFew) {
  EXPECT_NEAR(*pass_at_k(4, 2, 2), 1 - 1.0 / 6, 1e-15);
  EXPECT_FALSE(pass_at_k(4, 2, 5));
  EXPECT_THROW(pass_at_k(4, 5, 1), UsageError);
  EXPECT_THROW(pass_at_k(4, 2, 0), UsageError);
}

TEST(HarnessErrors, ByHand) {
  EXPECT_NEAR(*harness_mean_stderr(std::vector<double>{0, 1}), 0.5, 1e-15);
  EXPECT_FALSE(harness_mean_stderr(std::vector<double>{1}));
  EXPECT_NEAR(*harness_unweighted_stderr(std::vector<double>{3, 4}), 2.5, 1e-15);
  EXPECT_FALSE(harness_pooled_stderr(std::vector<double>{0.1, 0.1}, std::vector<int64_t>{1, 1}));
  EXPECT_EQ(*upper_median(std::vector<double>{4, 1, 3, 2}), 3);
  // An incomplete chunk is not run: 1,500 iterations are the 1,000 of one chunk.
  const std::vector<double> x = {1, 2, 5};
  const auto average = [](std::span<const double> v) { return *mean(v); };
  EXPECT_EQ(*harness_bootstrap_stderr(x, average, 1500, 1), *harness_bootstrap_stderr(x, average, 1000, 1));
}

}  // namespace
}  // namespace fare::stats
