#include "fare/core/python_random.h"

#include <gtest/gtest.h>

#include "fare/core/error.h"

namespace fare {
namespace {

// Expected values: CPython 3.11, e.g. `python3 -c "import random; random.seed(42); print(random.random())"`.
TEST(PythonRandom, GivesPythonsNumbers) {
  PythonRandom a(42);
  EXPECT_EQ(a.random(), 0.6394267984578837);
  EXPECT_EQ(a.random(), 0.025010755222666936);
  PythonRandom b(1234);
  for (const uint64_t expected : {7917, 6374, 3610, 957, 61, 742}) EXPECT_EQ(b.getrandbits(13), expected);
  PythonRandom c(uint64_t{1} << 40);  // a seed of two words
  EXPECT_EQ(c.random(), 0.1036394562812375);
  EXPECT_EQ(c.getrandbits(40), 71599492267u);
  EXPECT_EQ(c.getrandbits(64), 896183926445914345u);
}

TEST(PythonRandom, SamplesAndShufflesAsPythonDoes) {
  PythonRandom pool(1234);
  EXPECT_EQ(pool.sample(12, 5), (std::vector<uint64_t>{7, 1, 0, 10, 9}));
  PythonRandom set(1234);
  EXPECT_EQ(set.sample(7473, 5), (std::vector<uint64_t>{6374, 3610, 957, 61, 742}));
  PythonRandom shuffle(42);
  std::vector<int> items = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  shuffle.shuffle(items);
  EXPECT_EQ(items, (std::vector<int>{7, 5, 2, 8, 9, 6, 11, 3, 4, 0, 1, 10}));
  PythonRandom whole(0);
  EXPECT_EQ(whole.sample(3, 3).size(), 3u);
  EXPECT_TRUE(whole.sample(0, 0).empty());
}

TEST(PythonRandom, CrossesTheStateBoundary) {
  PythonRandom r(7);
  double last = 0;
  for (int i = 0; i < 1000; ++i) last = r.random();
  EXPECT_EQ(last, 0.37786262968738116);
}

TEST(PythonRandom, RefusesWhatPythonRefuses) {
  PythonRandom r(1);
  EXPECT_THROW(r.below(0), UsageError);
  EXPECT_THROW(r.floor_index(0), UsageError);
  EXPECT_THROW(r.getrandbits(65), UsageError);
  EXPECT_THROW(r.sample(3, 4), UsageError);
}

}  // namespace
}  // namespace fare
