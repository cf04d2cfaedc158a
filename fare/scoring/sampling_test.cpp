#include "fare/scoring/sampling.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "fare/core/error.h"

namespace fare {
namespace {

const RandomStream kNoise(1, "generate/x");

// Shares of each id over many steps.
std::vector<double> shares(const std::vector<float>& logits, const Sampling& sampling, int steps = 40000) {
  std::vector<double> count(logits.size(), 0);
  for (int step = 0; step < steps; ++step) {
    const RandomStream noise(3, "generate/prompt", 2, static_cast<uint32_t>(step));
    count[static_cast<size_t>(choose_token(logits, sampling, noise).token)] += 1.0 / steps;
  }
  return count;
}

TEST(Sampling, GreedyTakesTheLargestAndTheLowerOfEqualIds) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 2.0f};
  const ChosenToken chosen = choose_token(logits, {}, kNoise);
  EXPECT_EQ(chosen.token, 1);
  EXPECT_NEAR(chosen.logprob_nats, 2 - std::log(std::exp(0.5) + 2 * std::exp(2.0) + std::exp(-1.0)), 1e-7);
}

TEST(Sampling, DrawsHaveTheDistributionOfTheTemperature) {
  // p = (0.5, 0.25, 0.25) at temperature 1; at 0.5 squares of it: (2/3, 1/6, 1/6). Four standard errors: 0.0095.
  const std::vector<float> logits = {std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const auto one = shares(logits, {1, 1}), half = shares(logits, {0.5, 1});
  EXPECT_NEAR(one[0], 0.5, 0.0101);
  EXPECT_NEAR(one[1], 0.25, 0.0101);
  EXPECT_NEAR(half[0], 2.0 / 3, 0.0101);
  EXPECT_NEAR(half[2], 1.0 / 6, 0.0101);
}

TEST(Sampling, TopPKeepsTheSmallestSetThatHoldsTheShare) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};
  const auto found = shares(logits, {1, 0.65});  // 0.4 + 0.3
  EXPECT_EQ(found[0] + found[3], 0);
  EXPECT_NEAR(found[1], 4.0 / 7, 0.0101);
  const auto one = shares(logits, {1, 0.39}, 200);
  EXPECT_NEAR(one[1], 1, 1e-9);
  const auto three = shares(logits, {1, 0.75});
  EXPECT_EQ(three[0], 0);
  EXPECT_GT(three[3], 0.15);
}

TEST(Sampling, TheLogProbabilityIsTheModelsOwn) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};
  for (uint32_t step = 0; step < 20; ++step) {
    const ChosenToken chosen = choose_token(logits, {0.3, 0.65}, RandomStream(1, "generate/x", 0, step));
    EXPECT_NEAR(chosen.logprob_nats, logits[static_cast<size_t>(chosen.token)], 1e-6);
  }
}

TEST(Sampling, NoiseIsSharedIdById) {
  // The same draw decides both; an id that gains probability can only win more often.
  std::vector<float> base = {0, 0.2f, 0.1f, -0.3f}, moved = base;
  moved[3] += 1.0f;
  for (uint32_t step = 0; step < 2000; ++step) {
    const RandomStream noise(9, "generate/x", 0, step);
    const int32_t before = choose_token(base, {1, 1}, noise).token, after = choose_token(moved, {1, 1}, noise).token;
    EXPECT_TRUE(after == before || after == 3) << step;
  }
}

TEST(Sampling, RefusesLogitsThatAreNotNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& logits : {std::vector<float>{nan, 1}, {1, nan, 2}, {-inf, -inf}, {1, inf}})
    EXPECT_THROW(choose_token(logits, {}, kNoise), NumericError);
  EXPECT_EQ(choose_token(std::vector<float>{-inf, 3}, {1, 1}, kNoise).token, 1);
}

}  // namespace
}  // namespace fare
