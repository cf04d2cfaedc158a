#include "fare/stats/swap_test.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/stats/permutation.h"

namespace fare::stats {
namespace {

// Columns: value of the first arm, count; value of the second arm, count.
UnitTable arms_of(const std::vector<double>& first, const std::vector<double>& second) {
  UnitTable table;
  table.num_columns = 4;
  for (size_t u = 0; u < first.size(); ++u)
    for (const double cell : {first[u], 1.0, second[u], 1.0}) table.cells.push_back(cell);
  return table;
}

void mean_difference(std::span<const double> totals, std::span<std::optional<double>> values) {
  values[0] = totals[0] / totals[1] - totals[2] / totals[3];
}

ResampleOptions draws(int64_t count) { return {.seed = 3, .label = "permutation/swap/test", .replicates = count}; }

// Of a difference of means a swap is a flipped sign: the p of the sign-flip test, whose exact value is known by
// enumeration.
TEST(SwapTest, IsTheSignFlipTestForMeans) {
  std::vector<double> first, second, d;
  const RandomStream random(1, "swap test");
  for (uint64_t i = 0; i < 14; ++i) {
    first.push_back(random.uniform(2 * i) + 0.1);
    second.push_back(random.uniform(2 * i + 1));
    d.push_back(first.back() - second.back());
  }
  const double exact = sign_flip(d, {})->p;
  ASSERT_GT(exact, 0.01);
  ASSERT_LT(exact, 0.5);
  const SwapTest test = swap_tests(arms_of(first, second), 1, mean_difference, draws(40000)).front();
  EXPECT_NEAR(*test.p, exact, 4 * std::sqrt(exact * (1 - exact) / 40000));
}

TEST(SwapTest, EqualArmsHaveAPOfOneAndLargeDifferencesTheSmallest) {
  const std::vector<double> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  EXPECT_EQ(*swap_tests(arms_of(values, values), 1, mean_difference, draws(500)).front().p, 1);
  std::vector<double> higher = values;
  for (double& value : higher) value += 5;
  // All or none exchanged: two of 4,096 sign vectors.
  EXPECT_LT(*swap_tests(arms_of(higher, values), 1, mean_difference, draws(500)).front().p, 0.01);
}

TEST(SwapTest, SaysWhenTheStatisticIsUndefined) {
  const std::vector<double> values = {1, 2, 3, 4};
  const auto never = [](std::span<const double>, std::span<std::optional<double>>) {};
  EXPECT_FALSE(swap_tests(arms_of(values, values), 1, never, draws(100)).front().p);
  // Defined on the data, and in half of the draws: those in which the first unit keeps its arms.
  const auto half = [](std::span<const double> totals, std::span<std::optional<double>> out) {
    if (totals[0] < totals[2]) out[0] = 1.0;
  };
  const SwapTest test = swap_tests(arms_of({0, 0}, {1, 0}), 1, half, draws(100)).front();
  EXPECT_FALSE(test.p);
  EXPECT_GT(test.num_undefined, 20);
  UnitTable odd;
  odd.num_columns = 3;
  odd.cells = {1, 2, 3};
  EXPECT_THROW(swap_tests(odd, 1, never, draws(10)), UsageError);
}

TEST(SwapTest, ThreadsChangeNothing) {
  std::vector<double> first, second;
  for (int i = 0; i < 40; ++i) first.push_back(i % 7), second.push_back(i % 5);
  auto options = draws(1000);
  const double one = *swap_tests(arms_of(first, second), 1, mean_difference, options).front().p;
  options.num_threads = 3;
  EXPECT_EQ(*swap_tests(arms_of(first, second), 1, mean_difference, options).front().p, one);
}

}  // namespace
}  // namespace fare::stats
