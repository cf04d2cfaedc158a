#include "fare/diagnosis/halving.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace fare {
namespace {

Standing standing(double shift, double drop, const std::string& key, int64_t breadth = 10) {
  Standing s;
  s.shift_pp = shift;
  s.drop_pp = drop;
  s.breadth = breadth;
  s.key = key;
  return s;
}

TEST(Halving, AQuarterRoundedUp) {
  EXPECT_EQ(quarter(1440, 90), 360);
  EXPECT_EQ(quarter(96, 6), 24);
  EXPECT_EQ(quarter(20, 1), 5);
  EXPECT_EQ(quarter(5, 1), 2);
  EXPECT_EQ(quarter(10, 6), 6);
  EXPECT_EQ(quarter(3, 6), 3);
  EXPECT_EQ(quarter(0, 1), 0);
}

TEST(Halving, KeepsTheBestWithinTauAndTheUnconstrainedBest) {
  const std::vector<Standing> s = {standing(1, 0, "a"), standing(2, 0, "b"), standing(3, 0, "c"),
                                   standing(9, 8, "d"), standing(8, 7, "e"), standing(4, 0.5, "f")};
  // Quota 4: three within tau (f, c, b), then the largest shift of all (d).
  EXPECT_EQ(keep_best(s, 4, 1), (std::vector<size_t>{1, 2, 3, 5}));
  // None within tau: the quota is filled by shift.
  EXPECT_EQ(keep_best(s, 2, -1), (std::vector<size_t>{3, 4}));
}

TEST(Halving, AllowsOneStandardErrorOfTheDrop) {
  std::vector<Standing> s = {standing(5, 1.5, "a"), standing(1, 0, "b")};
  EXPECT_EQ(keep_best(s, 1, 1), std::vector<size_t>{1});
  s[0].drop_se_pp = 0.6;
  EXPECT_EQ(keep_best(s, 1, 1), std::vector<size_t>{0});
}

TEST(Halving, PassesOverEqualEditsAndPutsNoEffectLast) {
  std::vector<Standing> s = {standing(5, 0, "same"), standing(5, 0, "same"), standing(-1, 0, "x"),
                             standing(0, 0, "idle")};
  s[3].no_effect = true;
  EXPECT_EQ(keep_best(s, 2, 1), (std::vector<size_t>{0, 2}));
  EXPECT_EQ(keep_best(s, 4, 1), (std::vector<size_t>{0, 2, 3}));
}

TEST(Halving, TiesGoToSmallerBreadthThenStrength) {
  std::vector<Standing> s = {standing(5, 0, "a", 50), standing(5, 0, "b", 10), standing(5, 0, "c", 10)};
  s[1].lambda = 4;
  s[2].lambda = 1;
  EXPECT_EQ(keep_best(s, 1, 1), std::vector<size_t>{2});
}

TEST(Choice, WithinOneStandardErrorTheSmallestBreadthThenDose) {
  std::vector<Standing> s = {standing(10, 0, "a", 50), standing(9, 0, "b", 10), standing(8.5, 0, "c", 10),
                             standing(7, 0, "d", 2)};
  for (Standing& each : s) each.shift_se_pp = 2;
  s[1].dose_nats = 0.3;
  s[2].dose_nats = 0.1;
  EXPECT_EQ(choose_best(s, 1.0), 2u);  // d is too far away, c disturbs least
  s[0].shift_se_pp = 0.5;
  EXPECT_EQ(choose_best(s, 1.0), 0u);
}

TEST(Choice, CountsBackWhatTurnsThePreferenceRound) {
  // Base 10 pp on 2,400 pairs: a share of 60%, standard error 1 pp.
  EXPECT_NEAR(most_useful_pp(10, 2400), 11, 1e-12);
  EXPECT_NEAR(most_useful_pp(50, 96), 50, 1e-12);  // all prefer the stereotype: no error
  EXPECT_EQ(most_useful_pp(-20, 10000), 0);
  std::vector<Standing> s = {standing(14, 0, "far beyond"), standing(9, 0, "near"), standing(12.5, 0, "beyond")};
  EXPECT_EQ(choose_best(s, 1.0), 0u);
  for (Standing& each : s) each.most_pp = 11;
  EXPECT_EQ(choose_best(s, 1.0), 2u);  // 14 counts as 8, 12.5 as 9.5
  s[2].most_pp = 10.5;
  EXPECT_EQ(choose_best(s, 1.0), 1u);  // 8.5
}

TEST(Choice, HoldsTheDropToTauOnlyWhenAsked) {
  const std::vector<Standing> s = {standing(10, 3, "a"), standing(4, 1, "b"), standing(3, 0, "c")};
  EXPECT_EQ(choose_best(s, 1.0), 1u);
  EXPECT_EQ(choose_best(s, std::nullopt), 0u);
  EXPECT_EQ(choose_best(s, -1.0), std::nullopt);
}

TEST(Choice, TakesOneWithoutEffectOnlyIfThereIsNoOther) {
  std::vector<Standing> s = {standing(0, 0, "idle"), standing(-2, 0, "b")};
  s[0].no_effect = true;
  EXPECT_EQ(choose_best(s, 1.0), 1u);
  s[1].drop_pp = 5;
  EXPECT_EQ(choose_best(s, 1.0), 0u);
}

TEST(Front, HoldsWhatNothingBeatsInShiftAndDropByRisingDrop) {
  const std::vector<Standing> s = {standing(3, 0, "a"), standing(2, 0, "b"), standing(5, 2, "c"), standing(4, 3, "d"),
                                   standing(9, 4, "e"), standing(9, 5, "f"), standing(3, 0, "g")};
  EXPECT_EQ(front_of(s), (std::vector<size_t>{0, 2, 4}));
  EXPECT_TRUE(front_of({}).empty());
}

TEST(RungOrder, IsFixedBySeedAndBalancedInEveryBeginning) {
  std::vector<int64_t> items;
  std::vector<int32_t> groups;
  for (int64_t i = 0; i < 300; ++i) {
    items.push_back(1000 + i);
    groups.push_back(i < 200 ? 0 : 1);
  }
  const auto order = balanced_order(items, groups, 0, "search/rung");
  EXPECT_EQ(order, balanced_order(items, groups, 0, "search/rung"));
  EXPECT_NE(order, balanced_order(items, groups, 1, "search/rung"));
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 300u);
  for (const int64_t n : {30, 64, 150, 201}) {
    const auto small = std::count_if(order.begin(), order.begin() + n, [](int64_t i) { return i >= 1200; });
    EXPECT_NEAR(static_cast<double>(small), static_cast<double>(n) / 3, 1.0) << n;
  }
}

}  // namespace
}  // namespace fare
