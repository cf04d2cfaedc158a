// Hand-computed cases of the tests and intervals that do not resample items.
#include <gtest/gtest.h>

#include <cmath>

#include "fare/core/error.h"
#include "fare/stats/distributions.h"
#include "fare/stats/mcnemar.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/permutation.h"
#include "fare/stats/proportions.h"

namespace fare::stats {
namespace {

TEST(SignFlip, EnumeratesByHand) {
  // d = 3, 1, 2: sums of the sign vectors are +-6, +-4, +-2, 0, 0; |sum| >= 6 in 2 of 8.
  const std::vector<double> d = {3, 1, 2};
  SignFlipOptions options;
  auto got = *sign_flip(d, options);
  EXPECT_TRUE(got.exact);
  EXPECT_EQ(got.extreme, 2);
  EXPECT_EQ(got.p, 0.25);
  EXPECT_EQ(got.smallest_p, 0.25);
  options.alternative = Alternative::kGreater;
  EXPECT_EQ(sign_flip(d, options)->p, 0.125);
  options.alternative = Alternative::kLess;
  EXPECT_EQ(sign_flip(d, options)->p, 1);
}

TEST(SignFlip, FiveClustersNeverReachFivePercent) {
  const auto got = *sign_flip(std::vector<double>{1, 1, 1, 1, 1}, {});
  EXPECT_EQ(got.p, 0.0625);
  EXPECT_EQ(got.smallest_p, 0.0625);
}

TEST(SignFlip, EqualsExactMcNemarOnOnesAndZeros) {
  for (int b = 0; b <= 9; ++b) {
    for (int c = 0; c <= 6; ++c) {
      std::vector<double> d(b, 1.0);
      d.resize(b + c, -1.0);
      d.resize(b + c + 3, 0.0);
      EXPECT_NEAR(sign_flip(d, {})->p, mcnemar(b, c).exact_p, 1e-12) << b << " " << c;
    }
  }
}

TEST(SignFlip, TiesInTheLastBitsCount) {
  // 0.1 + 0.2 and 0.3 differ in the last bit; both sign patterns are as extreme as the data.
  const std::vector<double> d = {0.1, 0.2, -0.3, 0.6};
  // Sums with |.| >= 0.6: +-(0.6 + {0.6, 0.4, 0.2, 0}) and the mirrored patterns: count by hand 10 of 16.
  int count = 0;
  for (int s = 0; s < 16; ++s) {
    double total = 0;
    for (int i = 0; i < 4; ++i) total += (s >> i & 1) ? -d[i] : d[i];
    count += std::abs(total) > 0.6 - 1e-9;
  }
  EXPECT_EQ(sign_flip(d, {})->extreme, count);
}

TEST(SignFlip, MonteCarloIsNeverZeroAndNearTheExactValue) {
  std::vector<double> d;
  for (int i = 0; i < 16; ++i) d.push_back(0.5 + 0.3 * (i % 5) - 0.9 * (i % 3));
  SignFlipOptions options;
  const double exact = sign_flip(d, options)->p;
  options.max_exact_units = 0;
  const auto got = *sign_flip(d, options);
  EXPECT_FALSE(got.exact);
  EXPECT_EQ(got.total, 10000);
  EXPECT_NEAR(got.p, exact, 4 * std::sqrt(exact * (1 - exact) / 10000));
  const std::vector<double> ones(60, 1.0);
  EXPECT_EQ(sign_flip(ones, options)->p, 1.0 / 10001);
}

TEST(SignFlip, EdgesAreSaid) {
  EXPECT_FALSE(sign_flip({}, {}));
  EXPECT_EQ(sign_flip(std::vector<double>{0, 0}, {})->p, 1);
  EXPECT_THROW(sign_flip(std::vector<double>{1, INFINITY}, {}), NumericError);
  SignFlipOptions options;
  options.max_exact_units = 40;
  EXPECT_THROW(sign_flip(std::vector<double>{1}, options), UsageError);
}

TEST(SignFlip, ClustersFlipAsOne) {
  // Two items of one cluster cancel: the cluster says nothing.
  const std::vector<std::string> names = {"a", "a", "b", "c"};
  const auto got = *sign_flip_clusters(std::vector<double>{1, -1, 1, 1}, cluster_by_name(names), {});
  EXPECT_EQ(got.num_units, 3);
  EXPECT_EQ(got.num_nonzero, 2);
  EXPECT_EQ(got.p, 0.5);
}

TEST(McNemar, ByHand) {
  // b = 5, c = 0: exact 2 / 32, mid-p 2/32 - 1/32.
  const auto got = mcnemar(5, 0);
  EXPECT_NEAR(got.exact_p, 0.0625, 1e-15);
  EXPECT_NEAR(got.mid_p, 0.03125, 1e-15);
  EXPECT_EQ(*got.chi2, 5);
  EXPECT_NEAR(mcnemar(3, 3).mid_p, 1 - 20.0 / 64 / 2, 1e-15);  // b = c: half the middle outcome
  EXPECT_EQ(mcnemar(0, 0).exact_p, 1);
  EXPECT_FALSE(mcnemar(0, 0).chi2);
  EXPECT_THROW(mcnemar(-1, 2), UsageError);
  // Large counts neither overflow nor vanish: twice the tail at 20 standard deviations.
  const auto large = mcnemar(600000, 580000);
  EXPECT_GT(large.exact_p, 0);
  EXPECT_LT(large.exact_p, 1e-70);
}

TEST(McNemarPower, SumsOverEveryOutcomeByHand) {
  // n = 6, p10 = 1: always b = 6, p = 2/64 <= 0.05. n = 5: p = 2/32 > 0.05, mid-p 1/32 <= 0.05.
  EXPECT_NEAR(mcnemar_power(6, 1, 0, 0.05, McNemarVariant::kExact), 1, 1e-12);
  EXPECT_NEAR(mcnemar_power(5, 1, 0, 0.05, McNemarVariant::kExact), 0, 1e-12);
  EXPECT_NEAR(mcnemar_power(5, 1, 0, 0.05, McNemarVariant::kMidP), 1, 1e-12);
  // Brute force over b and c.
  double power = 0;
  for (int b = 0; b <= 12; ++b) {
    for (int c = 0; b + c <= 12; ++c) {
      if (mcnemar(b, c).exact_p > 0.05) continue;
      power += binomial_pmf(b, 12, 0.4) * binomial_pmf(c, 12 - b, 0.1 / 0.6);
    }
  }
  EXPECT_NEAR(mcnemar_power(12, 0.4, 0.1, 0.05, McNemarVariant::kExact), power, 1e-12);
  EXPECT_EQ(mcnemar_power(12, 0, 0, 0.05, McNemarVariant::kExact), 0);
  EXPECT_THROW(mcnemar_power(12, 0.7, 0.4, 0.05, McNemarVariant::kExact), UsageError);
}

TEST(MatchedOddsRatio, UndefinedWhereZeroCellsMakeItSo) {
  EXPECT_FALSE(matched_odds_ratio(0, 0, 0.95));
  EXPECT_FALSE(matched_odds_ratio(5, 0, 0.95)->odds_ratio);
  EXPECT_FALSE(matched_odds_ratio(5, 0, 0.95)->high);
  EXPECT_EQ(*matched_odds_ratio(0, 4, 0.95)->odds_ratio, 0);
}

TEST(Proportions, EdgesAreExact) {
  EXPECT_EQ(wilson_interval(0, 9, 0.95)->low, 0);
  EXPECT_EQ(wilson_interval(9, 9, 0.95)->high, 1);
  EXPECT_FALSE(wilson_interval(0, 0, 0.95));
  EXPECT_THROW(wilson_interval(5, 4, 0.95), UsageError);
  EXPECT_THROW(wilson_interval(1, 4, 95), UsageError);
  // No success in n: upper 1 - (1 - confidence)^(1/n).
  EXPECT_NEAR(*clopper_pearson_upper(0, 20, 0.95), 1 - std::pow(0.05, 1.0 / 20), 1e-14);
  EXPECT_NEAR(*clopper_pearson_lower(20, 20, 0.95), std::pow(0.05, 1.0 / 20), 1e-14);
}

TEST(PairedExactBounds, NoChangeStillNeeds299Clusters) {
  EXPECT_EQ(clusters_for_zero_discordance(0.01, 0.95), 299);
  EXPECT_LE(paired_exact_bounds(0, 0, 299, 0.95)->upper, 0.01);
  EXPECT_GT(paired_exact_bounds(0, 0, 298, 0.95)->upper, 0.01);
  EXPECT_EQ(paired_exact_bounds(0, 0, 299, 0.95)->lower, -paired_exact_bounds(0, 0, 299, 0.95)->upper);
}

TEST(PairedExactBounds, SubtractTheOppositeLimits) {
  const auto got = *paired_exact_bounds(6, 2, 100, 0.95);
  EXPECT_NEAR(got.upper, *clopper_pearson_upper(6, 100, 0.95) - *clopper_pearson_lower(2, 100, 0.95), 1e-15);
  EXPECT_NEAR(got.lower, *clopper_pearson_lower(6, 100, 0.95) - *clopper_pearson_upper(2, 100, 0.95), 1e-15);
  EXPECT_THROW(paired_exact_bounds(6, 5, 10, 0.95), UsageError);
  EXPECT_FALSE(paired_exact_bounds(0, 0, 0, 0.95));
}

TEST(BinomialTest, MidPHalvesTheOutcomesAsLikelyAsTheData) {
  // n = 4, k = 1, p = 1/2: exact = 10/16, equally likely outcomes 1 and 3 hold 8/16.
  EXPECT_NEAR(binomial_test(1, 4, 0.5)->exact_p, 10.0 / 16, 1e-14);
  EXPECT_NEAR(binomial_test(1, 4, 0.5)->mid_p, 6.0 / 16, 1e-14);
  EXPECT_NEAR(binomial_test(2, 4, 0.5)->mid_p, 1 - 3.0 / 16, 1e-14);
  for (int k = 0; k <= 11; ++k) {
    EXPECT_NEAR(binomial_test(k, 11, 0.5)->exact_p, mcnemar(k, 11 - k).exact_p, 1e-13);
    EXPECT_NEAR(binomial_test(k, 11, 0.5)->mid_p, mcnemar(k, 11 - k).mid_p, 1e-13);
  }
  EXPECT_FALSE(binomial_test(0, 0, 0.5));
}

TEST(Multiplicity, UndefinedTestsAreNoMembersOfTheFamily) {
  const PValues p = {0.01, std::nullopt, 0.04, NAN, 0.03};
  const auto bh = benjamini_hochberg(p), by = benjamini_yekutieli(p), holm_p = holm(p);
  EXPECT_DOUBLE_EQ(*bh[0], 0.03);  // m = 3
  EXPECT_DOUBLE_EQ(*bh[2], 0.04);
  EXPECT_DOUBLE_EQ(*bh[4], 0.04);  // 3 * 0.03 / 2 = 0.045, capped by the next one
  EXPECT_NEAR(*by[0], 0.03 * (1 + 0.5 + 1.0 / 3), 1e-15);
  EXPECT_DOUBLE_EQ(*holm_p[0], 0.03);
  EXPECT_DOUBLE_EQ(*holm_p[4], 0.06);
  EXPECT_DOUBLE_EQ(*holm_p[2], 0.06);  // 0.04 after 0.06: never falls
  for (const auto& q : {bh, by, holm_p}) {
    EXPECT_FALSE(q[1]);
    EXPECT_FALSE(q[3]);
  }
  EXPECT_TRUE(benjamini_hochberg({}).empty());
  EXPECT_THROW(holm(PValues{1.2}), UsageError);
}

TEST(Distributions, UpperTailsKeepTheirDigits) {
  EXPECT_NEAR(normal_sf(20) / 2.7536241186062337e-89, 1, 1e-12);
  EXPECT_NEAR(normal_quantile(1e-300), -37.0471, 1e-4);
  EXPECT_GT(student_t_two_sided_p(50, 200), 0);
  EXPECT_LT(student_t_two_sided_p(50, 200), 1e-110);
  EXPECT_EQ(student_t_quantile(0.5, 3), 0);
  EXPECT_NEAR(student_t_quantile(0.025, 5), -2.5705818356363146, 1e-12);
  for (const double p : {1e-10, 0.001, 0.3, 0.7, 0.9999})
    EXPECT_NEAR(normal_cdf(normal_quantile(p)), p, 1e-12 * p + 1e-16);
  EXPECT_THROW(normal_quantile(0), UsageError);
  EXPECT_THROW(normal_quantile(NAN), UsageError);
  EXPECT_THROW(student_t_sf(1, 0), UsageError);
}

TEST(Distributions, BinomialByHand) {
  EXPECT_NEAR(binomial_pmf(2, 4, 0.5), 6.0 / 16, 1e-15);
  EXPECT_NEAR(binomial_cdf(1, 4, 0.5), 5.0 / 16, 1e-15);
  EXPECT_NEAR(binomial_sf(1, 4, 0.5), 11.0 / 16, 1e-15);
  EXPECT_EQ(binomial_pmf(0, 5, 0), 1);
  EXPECT_EQ(binomial_pmf(5, 5, 1), 1);
  EXPECT_EQ(binomial_pmf(0, 0, 0.3), 1);
  EXPECT_EQ(binomial_cdf(-1, 5, 0.3), 0);
  EXPECT_EQ(binomial_sf(5, 5, 0.3), 0);
}

}  // namespace
}  // namespace fare::stats
