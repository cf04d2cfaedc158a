#include "fare/stats/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "fare/core/philox.h"
#include "fare/stats/distributions.h"
#include "fare/stats/divergence.h"
#include "fare/stats/draws.h"
#include "fare/stats/effect_size.h"
#include "fare/stats/harness_stderr.h"
#include "fare/stats/mcnemar.h"
#include "fare/stats/moments.h"
#include "fare/stats/permutation.h"
#include "fare/stats/ranks.h"

namespace fare::stats {
namespace {

ResampleOptions few(int64_t replicates = 500, int num_threads = 1) {
  ResampleOptions options;
  options.seed = 7;
  options.replicates = replicates;
  options.num_threads = num_threads;
  return options;
}

std::vector<double> normals(int n, uint32_t replicate = 0) {
  const RandomStream stream(3, "test/normals", replicate);
  std::vector<double> out(n);
  for (int i = 0; i < n; ++i) out[i] = normal_draw(stream, i);
  return out;
}

Clusters thirds(int64_t n) {
  Clusters out;
  out.num_clusters = (n + 2) / 3;
  for (int64_t i = 0; i < n; ++i) out.of_item.push_back(static_cast<int32_t>(i / 3));
  return out;
}

TEST(Draws, EqualTheStreamOneByOne) {
  for (const uint32_t length : {1u, 2u, 15u, 16u, 17u, 1000u}) {
    const RandomStream stream(0x123456789abcull, "bootstrap/x", 9, 4);
    const StreamAddress address(0x123456789abcull, "bootstrap/x");
    std::vector<uint32_t> indices(length), words(length);
    draw_indices(address, 9, 4, 1677, indices);
    draw_words(address, 9, 4, words);
    for (uint32_t d = 0; d < length; ++d) {
      ASSERT_EQ(indices[d], stream.index(d, 1677)) << length << " " << d;
      ASSERT_EQ(words[d], stream.u32(d)) << length << " " << d;
    }
  }
}

TEST(Draws, NormalsAreTheQuantileOfTheOpenUniform) {
  const RandomStream stream(20240601, "bootstrap/paired");
  // First uniform 0.10252648083727023 of the reference vectors; SciPy's ndtri of it.
  EXPECT_NEAR(normal_draw(stream, 0), -1.2672862319932165, 1e-12);
  EXPECT_EQ(normal_draw(stream, 3), normal_quantile(stream.uniform(3) + 0x1p-54));
}

TEST(Bootstrap, SumsDrawnUnitsInDrawOrder) {
  const auto d = normals(31);
  const auto got = bootstrap_mean(d, few(20));
  for (uint32_t r = 0; r < 20; ++r) {
    const RandomStream stream(7, "bootstrap/cluster", r);
    double total = 0;
    for (uint64_t i = 0; i < 31; ++i) total += d[stream.index(i, 31)];
    EXPECT_EQ(got.replicates[r], total / 31);
  }
}

TEST(Bootstrap, OneResampleServesAllColumns) {
  // The difference of two bootstrapped means equals the bootstrapped mean of the differences only with shared draws.
  const auto a = normals(60, 1), b = normals(60, 2);
  const auto clusters = thirds(60);
  const auto both = bootstrap(
      cluster_table({a, b}, clusters), 3,
      [](auto totals, auto values) {
        values[0] = totals[0] / totals[2];
        values[1] = totals[1] / totals[2];
        values[2] = (totals[0] - totals[1]) / totals[2];
      },
      few());
  for (size_t r = 0; r < both[0].replicates.size(); ++r) {
    EXPECT_NEAR(both[0].replicates[r] - both[1].replicates[r], both[2].replicates[r], 1e-12);
  }
}

TEST(Bootstrap, ManyColumnsGiveWhatOneColumnGives) {
  // Widths up to 4 and above take different paths.
  const auto clusters = thirds(60);
  for (const size_t width : {1, 2, 3, 4, 5, 9}) {
    std::vector<std::vector<double>> columns;
    for (uint32_t k = 0; k < width; ++k) columns.push_back(normals(60, 10 + k));
    const auto all = bootstrap(
        cluster_table({columns.begin(), columns.end()}, clusters), static_cast<int64_t>(width),
        [](auto totals, auto values) {
          for (size_t k = 0; k < values.size(); ++k) values[k] = totals[k] / totals.back();
        },
        few(50));
    for (size_t k = 0; k < width; ++k) {
      const auto alone = bootstrap_cluster_mean(columns[k], clusters, few(50));
      EXPECT_EQ(all[k].replicates, alone.replicates) << width << " " << k;
      EXPECT_EQ(all[k].leave_one_out, alone.leave_one_out) << width << " " << k;
    }
  }
}

template <typename F>
void expect_same_bytes_for_all_thread_counts(const F& values_of) {
  const std::vector<double> one = values_of(1);
  for (const int threads : {2, 16}) {
    const std::vector<double> many = values_of(threads);
    ASSERT_EQ(one.size(), many.size());
    EXPECT_EQ(0, std::memcmp(one.data(), many.data(), one.size() * sizeof(double))) << threads << " threads";
  }
}

TEST(Determinism, EveryResamplingGivesTheSameBytesForOneTwoAndSixteenThreads) {
  const auto d = normals(90, 1), e = normals(90, 2);
  const auto clusters = thirds(90);
  const std::vector<std::string> names = [] {
    std::vector<std::string> out(90, "b");
    for (int i = 0; i < 40; ++i) out[i] = i % 2 ? "a" : "\xc3\xa9";
    return out;
  }();
  expect_same_bytes_for_all_thread_counts([&](int t) { return bootstrap_mean(d, few(1000, t)).replicates; });
  expect_same_bytes_for_all_thread_counts(
      [&](int t) { return bootstrap_cluster_mean(d, clusters, few(1000, t)).replicates; });
  expect_same_bytes_for_all_thread_counts(
      [&](int t) { return bootstrap_stratified(d, names, few(1000, t)).macro.replicates; });
  expect_same_bytes_for_all_thread_counts(
      [&](int t) { return bootstrap_spearman(d, e, clusters, few(1000, t)).replicates; });
  expect_same_bytes_for_all_thread_counts([&](int t) { return bootstrap_dz(d, clusters, few(1000, t)).replicates; });
  expect_same_bytes_for_all_thread_counts([&](int t) {
    return bootstrap_two_stage({{1, 2, 3}, {0, 5}, {4}, {2, 2, 7, 1}}, few(1000, t)).replicates;
  });
  expect_same_bytes_for_all_thread_counts([&](int t) {
    SignFlipOptions options;
    options.num_threads = t;
    return std::vector<double>{sign_flip(d, options)->p};
  });
  expect_same_bytes_for_all_thread_counts([&](int t) {
    std::vector<std::vector<double>> a, b;
    for (int g = 0; g < 30; ++g) {
      a.push_back({d[g] * d[g], 1, 2});
      b.push_back({1, e[g] * e[g], 2});
    }
    DivergencePermutationOptions options;
    options.num_threads = t;
    const auto got = *permute_divergence(a, b, options);
    return std::vector<double>{got.p, got.null_mean_nats};
  });
  expect_same_bytes_for_all_thread_counts([&](int t) {
    PowerSimulation options;
    options.num_threads = t;
    return std::vector<double>{simulate_mcnemar_power(100, 0.15, 0.05, 0.05, options).power};
  });
  expect_same_bytes_for_all_thread_counts([&](int t) {
    return std::vector<double>{*harness_bootstrap_stderr(
        d, [](auto x) { return *mean(x); }, 3000, t)};
  });
}

TEST(Bootstrap, UndefinedReplicatesAreCountedAndAboveOnePercentThereIsNoInterval) {
  // One of 3 units carries the denominator: it is missing from (2/3)^3 = 30% of the resamples.
  UnitTable table;
  table.num_columns = 2;
  table.cells = {1, 1, 1, 0, 1, 0};
  const auto got = bootstrap(
      table, 1,
      [](auto totals, auto values) {
        if (totals[1] > 0) values[0] = totals[0] / totals[1];
      },
      few(2000))[0];
  EXPECT_NEAR(static_cast<double>(got.num_undefined) / 2000, 8.0 / 27, 0.04);
  EXPECT_EQ(got.replicates.size() + got.num_undefined, 2000u);
  EXPECT_FALSE(got.percentile(0.95));
  EXPECT_NE(got.percentile(0.95).reason.find("undefined"), std::string::npos);
  EXPECT_EQ(got.leave_one_out.size(), 2u);
  EXPECT_THROW(got.percentile(0.95).value(), NumericError);
}

TEST(Bootstrap, BcaSaysWhyItGivesWay) {
  const std::vector<double> constant(12, 0.25);
  const auto flat = bootstrap_mean(constant, few());
  EXPECT_NE(flat.bca(0.95).reason.find("do not vary"), std::string::npos);
  EXPECT_EQ(flat.interval(IntervalKind::kBca, 0.95)->method, IntervalKind::kPercentile);
  EXPECT_FALSE(flat.interval(IntervalKind::kBca, 0.95)->note.empty());
  // An estimate outside all replicates has no bias correction.
  auto outside = bootstrap_mean(normals(12), few());
  outside.estimate = 100.0;
  EXPECT_NE(outside.bca(0.95).reason.find("outside all replicates"), std::string::npos);
  EXPECT_EQ(bootstrap_mean(normals(12), few()).interval(IntervalKind::kBca, 0.95)->method, IntervalKind::kBca);
}

TEST(Bootstrap, TiesWithTheEstimateCountHalf) {
  // Symmetric; 7 of the 27 resamples have the estimate's multiset or sum, but 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1
  // differ in the last bit: compared exactly, ties would fall on one side.
  const auto bca = *bootstrap_mean(std::vector<double>{0.1, 0.2, 0.3}, few(4000)).bca(0.95);
  EXPECT_NEAR(bca.p0, 0.5, 0.03);
}

TEST(Bootstrap, AccelerationByHand) {
  // Deviations -1, -1, -1, 3; leaving one out moves the mean by a third of them: 24 / (6 * 12^1.5), the scale cancels.
  const auto bca = *bootstrap_mean(std::vector<double>{0, 0, 0, 4}, few()).bca(0.95);
  EXPECT_NEAR(bca.a, 24 / (6 * std::pow(12, 1.5)), 1e-12);
  EXPECT_GT(bca.alpha2, normal_cdf(2 * bca.z0 + normal_quantile(0.975)));
}

TEST(Bootstrap, BasicIntervalMirrorsThePercentileInterval) {
  const auto got = bootstrap_mean(std::vector<double>{0, 0, 1, 5}, few());
  const auto plain = *got.percentile(0.9), basic = *got.basic(0.9);
  EXPECT_LT(basic.low, basic.high);
  EXPECT_DOUBLE_EQ(basic.low + plain.high, 2 * *got.estimate);
  EXPECT_DOUBLE_EQ(basic.high + plain.low, 2 * *got.estimate);
}

TEST(Bootstrap, LeavesOneItemOutOfItsStratum) {
  const std::vector<double> d = {1, 5, 2, 10, 20};
  const std::vector<std::string> names = {"x", "a", "x", "a", "a"};
  const auto got = bootstrap_stratified(d, names, few(5));
  EXPECT_EQ(got.micro.leave_one_out, (std::vector<double>{37.0 / 4, 33.0 / 4, 36.0 / 4, 28.0 / 4, 18.0 / 4}));
  EXPECT_DOUBLE_EQ(got.macro.leave_one_out[1], (1.5 + 15) / 2);
}

TEST(Bootstrap, EachStratumHasItsOwnStream) {
  const std::vector<double> d = {1, 2, 3, 10, 20, 30};
  const std::vector<std::string> names = {"x", "x", "x", "a", "a", "a"};
  const auto got = bootstrap_stratified(d, names, few(20));
  for (uint32_t r = 0; r < 20; ++r) {
    const RandomStream first(7, "bootstrap/cluster", r, 0), second(7, "bootstrap/cluster", r, 1);
    double a = 0, x = 0;
    for (uint64_t i = 0; i < 3; ++i) {
      a += d[3 + first.index(i, 3)];
      x += d[second.index(i, 3)];
    }
    EXPECT_DOUBLE_EQ(got.micro.replicates[r], (a + x) / 6);
  }
}

TEST(Bootstrap, StrataKeepTheirSizesAndOrderByBytes) {
  const std::vector<double> d = {1, 1, 5, 5, 5};
  const std::vector<std::string> names = {"b", "b", "B", "B", "B"};
  const auto got = bootstrap_stratified(d, names, few());
  EXPECT_EQ(got.strata, (std::vector<std::string>{"B", "b"}));
  for (const double value : got.micro.replicates) EXPECT_DOUBLE_EQ(value, 17.0 / 5);
  EXPECT_DOUBLE_EQ(*got.macro.estimate, 3);
}

TEST(Bootstrap, TwoStagesDrawInsideEachDrawnCluster) {
  const std::vector<std::vector<double>> samples = {{1, 2}, {10, 20, 30}, {5}};
  const auto got = bootstrap_two_stage(samples, few(50));
  EXPECT_DOUBLE_EQ(*got.estimate, 68.0 / 6);
  for (uint32_t r = 0; r < 50; ++r) {
    const RandomStream outer(7, "bootstrap/cluster", r, 0);
    double total = 0, count = 0;
    for (uint32_t position = 0; position < 3; ++position) {
      const auto& cluster = samples[outer.index(position, 3)];
      const RandomStream inner(7, "bootstrap/cluster", r, 1 + position);
      for (uint64_t i = 0; i < cluster.size(); ++i) total += cluster[inner.index(i, cluster.size())];
      count += static_cast<double>(cluster.size());
    }
    EXPECT_EQ(got.replicates[r], total / count);
  }
}

TEST(Bootstrap, RefusesBadInput) {
  EXPECT_THROW(bootstrap_mean({}, few()), UsageError);
  EXPECT_THROW(bootstrap_mean(std::vector<double>{1, NAN}, few()), NumericError);
  EXPECT_THROW(bootstrap_mean(std::vector<double>{1, 2}, few(0)), UsageError);
  EXPECT_THROW(bootstrap_cluster_mean(std::vector<double>{1, 2}, one_cluster_per_item(3), few()), UsageError);
  UnitTable table{1, {1, 2, 3}, {0, 1, 2}, 2};
  EXPECT_THROW(bootstrap(
                   table, 1, [](auto, auto) {}, few()),
               UsageError);
  UnitTable plain{1, {1, 2, 3}, {}, 1};
  EXPECT_THROW(bootstrap(
                   plain, 1, [](auto, auto values) { values[0] = NAN; }, few()),
               NumericError);
  EXPECT_THROW(bootstrap_two_stage({{1}, {}}, few()), UsageError);
}

TEST(WeightedRatios, GiveTheBiasShift) {
  // Two axes: totals are base hits, intervention hits, items.
  const std::vector<double> totals = {60, 50, 100, 15, 18, 50};
  const auto term = [](int64_t column, int64_t items, double factor, std::optional<double> weight) {
    return RatioTerm{column, items, factor, weight};
  };
  // Axis 1 above 50% (sigma +), axis 2 below (sigma -); shift = w1 (60 - 50) - w2 (30 - 36).
  std::vector<RatioTerm> terms = {term(0, 2, 100, 2.0 / 3), term(1, 2, -100, 2.0 / 3), term(3, 5, -100, 1.0 / 3),
                                  term(4, 5, 100, 1.0 / 3)};
  EXPECT_NEAR(*weighted_ratio_sum(totals, terms), 2.0 / 3 * 10 + 1.0 / 3 * 6, 1e-12);
  // Shares as weights: hits are counted over all denominators named; each axis appears twice here, so weights halve.
  const std::vector<RatioTerm> shares = {term(0, 2, 100, {}), term(3, 5, -100, {})};
  EXPECT_NEAR(*weighted_ratio_sum(totals, shares), 100.0 * (60 - 15) / 150, 1e-12);
  const std::vector<double> undrawn = {60, 50, 100, 0, 0, 0};
  EXPECT_FALSE(weighted_ratio_sum(undrawn, terms));
  EXPECT_NEAR(*weighted_ratio_sum(undrawn, shares), 60, 1e-12);
  EXPECT_FALSE(weighted_ratio_sum(totals, {}));
}

TEST(Quantile, IsOfTypeSeven) {
  const std::vector<double> sorted = {1, 2, 4};
  EXPECT_DOUBLE_EQ(quantile_sorted(sorted, 0.25), 1.5);
  EXPECT_DOUBLE_EQ(quantile_sorted(sorted, 0.75), 3);
  EXPECT_DOUBLE_EQ(quantile_sorted(sorted, 1), 4);
  EXPECT_THROW(quantile_sorted({}, 0.5), UsageError);
  EXPECT_THROW(quantile_sorted(sorted, 1.1), UsageError);
}

TEST(BootstrapSpearman, RanksEachResampleAnew) {
  const std::vector<double> x = {1, 2, 2, 3, 5, 4, 4}, y = {2, 1, 3, 3, 6, 4, 5};
  const auto got = bootstrap_spearman(x, y, thirds(7), few(30));
  EXPECT_EQ(*got.estimate, *spearman(x, y));
  size_t defined = 0;
  for (uint32_t r = 0; r < 30; ++r) {
    const RandomStream stream(7, "bootstrap/cluster", r);
    std::vector<double> a, b;
    for (int position = 0; position < 3; ++position) {
      const auto c = stream.index(position, 3);
      for (size_t i = 3 * c; i < std::min<size_t>(7, 3 * c + 3); ++i) {
        a.push_back(x[i]);
        b.push_back(y[i]);
      }
    }
    const auto direct = spearman(a, b);
    if (!direct) continue;
    EXPECT_NEAR(got.replicates[defined++], *direct, 1e-12);
  }
  EXPECT_EQ(got.replicates.size(), defined);
}

TEST(BootstrapDz, EqualsTheDirectStatistic) {
  const auto d = normals(9);
  const auto clusters = thirds(9);
  const auto got = bootstrap_dz(d, clusters, few(20));
  for (uint32_t r = 0; r < 20; ++r) {
    const RandomStream stream(7, "bootstrap/cluster", r);
    std::vector<double> drawn;
    for (int position = 0; position < 3; ++position) {
      const auto c = stream.index(position, 3);
      drawn.insert(drawn.end(), d.begin() + 3 * c, d.begin() + 3 * c + 3);
    }
    EXPECT_NEAR(got.replicates[r], *paired_dz(drawn), 1e-10);
  }
  // All differences 0: d_z is 0 in every replicate, not undefined.
  const auto zero = bootstrap_dz(std::vector<double>(9, 0.0), clusters, few(20));
  EXPECT_EQ(zero.num_undefined, 0);
  EXPECT_EQ(*zero.estimate, 0);
  EXPECT_FALSE(bootstrap_dz(std::vector<double>(9, 0.3), clusters, few(20)).estimate);
}

}  // namespace
}  // namespace fare::stats
