#include "fare/models/side_by_side.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace fare {
namespace {

DecoderSpec of_width(int64_t hidden_size) {
  DecoderSpec spec;
  spec.hidden_size = hidden_size;
  return spec;
}

TEST(SideBySide, CallsEveryBodyOnceOnOneThreadEach) {
  const int threads = at::get_num_threads();
  at::set_num_threads(4);
  std::vector<int> calls(100, 0);
  std::atomic<int> undivided{0};
  side_by_side(of_width(64), 100, [&](int64_t i) {
    ++calls[static_cast<size_t>(i)];
    undivided += at::in_parallel_region();  // what a body divides stays on its thread
  });
  EXPECT_EQ(calls, std::vector<int>(100, 1));
  EXPECT_EQ(undivided, 100);
  side_by_side(of_width(64), 1, [&](int64_t) { undivided += at::in_parallel_region(); });
  EXPECT_EQ(undivided, 101) << "one body alone computes as one of many";
  at::set_num_threads(threads);
}

TEST(SideBySide, AWideModelTakesItsPassesInTurn) {
  std::vector<int64_t> order;
  side_by_side(of_width(2048), 5, [&](int64_t i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(SideBySide, HandsOnTheFirstException) {
  EXPECT_THROW(side_by_side(of_width(64), 8,
                            [](int64_t i) {
                              if (i == 3) throw std::runtime_error("three");
                            }),
               std::runtime_error);
  side_by_side(of_width(64), 0, [](int64_t) { FAIL(); });
}

}  // namespace
}  // namespace fare
