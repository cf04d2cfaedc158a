#include "fare/diagnosis/dose_control.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

namespace fare {
namespace {

MatchedDose match_dose(const std::function<double(double)>& dose_at, double target, double start, double largest,
                       double tolerance, int max_steps) {
  DoseSearch search(target, start, largest, tolerance, max_steps);
  while (!search.done()) search.tell(dose_at(search.next()));
  return search.best();
}

TEST(MatchDose, FindsTheStrengthOfASmoothDose) {
  int calls = 0;
  const auto square = [&](double lambda) {
    ++calls;
    return 0.002 * lambda * lambda;
  };
  const MatchedDose match = match_dose(square, 0.05, 1, 1e4, 0.05, 14);
  EXPECT_TRUE(match.matched);
  EXPECT_NEAR(match.dose_nats, 0.05, 0.0025);
  EXPECT_LE(calls, 3);
}

TEST(MatchDose, FindsItFromAboveAndThroughSaturation) {
  const auto saturating = [](double lambda) { return 0.1 * (1 - std::exp(-lambda * lambda / 9)); };
  for (const double start : {0.01, 1.0, 40.0}) {
    const MatchedDose match = match_dose(saturating, 0.03, start, 1e4, 0.05, 14);
    EXPECT_TRUE(match.matched) << start;
    EXPECT_NEAR(saturating(match.lambda), match.dose_nats, 1e-12);
    EXPECT_NEAR(match.dose_nats, 0.03, 0.0015);
  }
}

TEST(MatchDose, SaysWhenTheDoseCannotBeReached) {
  const MatchedDose capped =
      match_dose([](double lambda) { return std::min(lambda, 1.0) * 0.01; }, 0.05, 1, 1e4, 0.05, 14);
  EXPECT_FALSE(capped.matched);
  EXPECT_DOUBLE_EQ(capped.dose_nats, 0.01);
  int calls = 0;
  match_dose([&](double lambda) { return ++calls, std::min(lambda, 1.0) * 0.01; }, 0.05, 1, 1e4, 0.05, 14);
  EXPECT_LE(calls, 3) << "a dose that no longer rises is given up";
  const MatchedDose idle = match_dose([](double) { return 0.0; }, 0.05, 1, 100, 0.05, 14);
  EXPECT_FALSE(idle.matched);
  EXPECT_EQ(idle.dose_nats, 0);
}

TEST(MatchDose, GivesTheNearestSideOfAJump) {
  int calls = 0;
  const MatchedDose jump =
      match_dose([&](double lambda) { return ++calls, lambda < 2 ? 0.03 : 0.06; }, 0.04, 1, 1e4, 0.05, 30);
  EXPECT_FALSE(jump.matched);
  EXPECT_DOUBLE_EQ(jump.dose_nats, 0.03);
  EXPECT_LE(calls, 14) << "a bracket that holds a jump is not divided for ever";
}

TEST(RandomDirection, KeepsBreadthAndMagnitudesOutsideTheChosenExperts) {
  RoutedModel model;
  model.num_layers = 2;
  model.moe_layers = {0, 1};
  model.router.num_experts = 8;
  model.router.top_k = 2;
  const std::vector<ChosenExpert> chosen = {{0, 1, 1}, {1, 3, -0.5}, {1, 4, 0.25}};
  std::set<std::pair<int64_t, int32_t>> own = {{0, 1}, {1, 3}, {1, 4}};
  bool negative = false, met = false;
  for (int64_t draw = 0; draw < 30; ++draw) {
    const auto direction = random_direction({}, chosen, model, true, 0, draw);
    ASSERT_EQ(direction.size(), 3u);
    std::multiset<double> magnitudes;
    for (const ChosenExpert& expert : direction) {
      EXPECT_FALSE(own.contains({expert.layer, expert.expert}));
      magnitudes.insert(std::abs(expert.score));
      negative = negative || expert.score < 0;
    }
    EXPECT_EQ(magnitudes, (std::multiset<double>{0.25, 0.5, 1}));
    for (const ChosenExpert& expert : random_direction({}, chosen, model, false, 0, draw))
      met = met || own.contains({expert.layer, expert.expert});
  }
  EXPECT_TRUE(negative);
  EXPECT_TRUE(met);
}

TEST(RandomDirection, TakesAsManyAsThereAre) {
  RoutedModel model;
  model.num_layers = 1;
  model.moe_layers = {0};
  model.router.num_experts = 4;
  const std::vector<ChosenExpert> chosen = {{0, 0, 1}, {0, 1, 1}, {0, 2, 1}};
  const auto direction = random_direction({}, chosen, model, true, 0, 0);
  ASSERT_EQ(direction.size(), 1u);
  EXPECT_EQ(direction[0].expert, 3);
}

}  // namespace
}  // namespace fare
