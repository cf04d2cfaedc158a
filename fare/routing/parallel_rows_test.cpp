#include "fare/routing/parallel_rows.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace fare {
namespace {

class ParallelRows : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(3); }
  void TearDown() override { at::set_num_threads(before_); }
  int before_ = at::get_num_threads();
};

TEST_F(ParallelRows, RunsOnSeveralThreads) {
  // Each part waits until another has begun: on one thread none would.
  std::atomic<int> begun{0};
  std::atomic<bool> together{false};
  parallel_rows(0, 2, 1, [&](int64_t, int64_t) {
    ++begun;
    for (int i = 0; i < 20000 && begun < 2; ++i) std::this_thread::sleep_for(std::chrono::microseconds(100));
    if (begun == 2) together = true;
  });
  EXPECT_TRUE(together);
}

TEST_F(ParallelRows, EveryRowOnceAndErrorsComeOut) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_rows(0, 1000, 7, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (const auto& count : seen) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_rows(0, 1000, 1, [](int64_t, int64_t) { throw std::runtime_error("no"); }), std::runtime_error);
  parallel_rows(5, 5, 1, [](int64_t, int64_t) { FAIL() << "an empty range has no part"; });
}

}  // namespace
}  // namespace fare
