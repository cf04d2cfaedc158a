#include "fare/core/ranks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>

#include "fare/core/error.h"
#include "fare/core/thread_ranks.h"

namespace fare {
namespace {

TEST(Ranks, OneRankComputesEverythingInOrder) {
  OneRank one;
  std::vector<size_t> order;
  const std::vector<double> costs = {1, 9, 5};
  const auto results = divide(one, costs, [&](size_t part, int64_t started) {
    EXPECT_EQ(started, static_cast<int64_t>(order.size()) + 1);
    order.push_back(part);
    return std::to_string(part);
  });
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(results, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(from_first(one, "x"), "x");
}

TEST(Ranks, OneRankStartsAgainAfterAnError) {
  OneRank one;
  const std::vector<double> costs = {1, 1};
  EXPECT_THROW(divide(one, costs, [](size_t, int64_t) -> std::string { throw NumericError("x"); }), NumericError);
  EXPECT_EQ(divide(one, costs, [](size_t part, int64_t) { return std::to_string(part); }),
            (std::vector<std::string>{"0", "1"}));
}

TEST(Ranks, EachPartIsComputedOnceAndKnownEverywhere) {
  for (const int size : {2, 3, 4}) {
    ThreadRanks ranks(size);
    std::vector<std::atomic<int>> times(20);
    std::vector<double> costs(times.size());
    std::iota(costs.begin(), costs.end(), 0.0);
    ranks.run([&](Ranks& own) {
      for (int round = 1; round <= 3; ++round) {
        const auto results = divide(own, costs, [&](size_t part, int64_t) {
          ++times[part];
          return std::to_string(part * 7);
        });
        ASSERT_EQ(results.size(), costs.size());
        for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], std::to_string(i * 7));
        EXPECT_EQ(from_first(own, std::to_string(own.rank() + round)), std::to_string(round));
      }
    });
    for (const auto& count : times) EXPECT_EQ(count, 3);
  }
}

TEST(Ranks, TheCostliestPartsGoFirst) {
  ThreadRanks ranks(2);
  std::mutex guard;
  std::vector<size_t> at_number(4);
  ranks.run([&](Ranks& own) {
    claim_parts(own, std::vector<double>{1, 4, 2, 4}, [&](size_t part, int64_t started) {
      const std::lock_guard lock(guard);
      at_number[static_cast<size_t>(started - 1)] = part;
    });
    own.exchange("");
  });
  EXPECT_EQ(at_number, (std::vector<size_t>{1, 3, 2, 0}));
}

TEST(Ranks, JoinedTextsComeApartAgain) {
  const std::vector<std::string> texts = {"", std::string("a\0b", 3), "\n", std::string(1000, 'x')};
  EXPECT_EQ(split_texts(join_texts(texts)), texts);
  EXPECT_TRUE(split_texts("").empty());
  EXPECT_THROW(split_texts(join_texts(texts).substr(0, 20)), BrokenInvariant);
  EXPECT_THROW(split_texts("abc"), BrokenInvariant);
}

}  // namespace
}  // namespace fare
