#include "fare/models/attention.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

struct Inputs {
  at::Tensor q, k, v;
};

Inputs random_inputs(int64_t rows, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t value_dim,
                     uint64_t seed = 3) {
  at::manual_seed(seed);
  return {at::randn({rows, heads, head_dim}), at::randn({rows, kv_heads, head_dim}),
          at::randn({rows, kv_heads, value_dim})};
}

// A trunk of 7, two branches of 3 and 5, a leaf of 2 under the second branch, and a sequence of its own.
std::vector<Segment> tree() { return {{0, 7, -1}, {7, 3, 0}, {10, 5, 0}, {15, 2, 2}, {17, 4, -1}}; }

TEST(Attention, TwoKeysByHand) {
  // Keys 0 and ln 3 along one dimension, scale 1: weights 1/4 and 3/4 for the second query; the first sees itself only.
  const at::Tensor q = at::ones({2, 1, 2}), v = at::tensor({4.0f, 8.0f}).view({2, 1, 1});
  const float ln3 = std::log(3.0f);
  const at::Tensor k = at::tensor({0.0f, 0.0f, ln3, 0.0f}).view({2, 1, 2});
  const at::Tensor out = attend(q, k, v, {{0, 2, -1}}, {1.0, {}});
  EXPECT_NEAR(out[0][0][0].item<float>(), 4, 1e-6);
  EXPECT_NEAR(out[1][0][0].item<float>(), 0.25 * 4 + 0.75 * 8, 1e-5);
}

TEST(Attention, KernelAndPlainOperationsAgreeOnTreesGroupsAndWindows) {
  for (const auto& [heads, kv_heads] : {std::pair{4, 4}, {4, 2}, {6, 1}})
    for (const int64_t head_dim : {2, 8, 17, 64})
      for (const std::optional<int64_t> window : {std::optional<int64_t>(), {1}, {4}, {9}, {100}}) {
        const Inputs x = random_inputs(21, heads, kv_heads, head_dim, head_dim + 3);
        const AttentionShape shape{0.3, window};
        EXPECT_TRUE(
            near(attend(x.q, x.k, x.v, tree(), shape), attend_by_operations(x.q, x.k, x.v, tree(), shape), 2e-6))
            << heads << "/" << kv_heads << " heads, dimension " << head_dim << ", window " << window.value_or(-1);
      }
}

TEST(Attention, ASinkByHand) {
  // Scores 0 and ln 3, sink ln 4 and ln 1: weights 1/8, 3/8 (4/8 to the sink) and 1/5, 3/5. The sink is not scaled.
  const float ln3 = std::log(3.0f);
  const at::Tensor q = at::ones({2, 2, 1}), v = at::tensor({4.0f, 8.0f}).view({2, 1, 1}),
                   k = at::tensor({0.0f, ln3 / 2}).view({2, 1, 1});
  const AttentionShape shape{2.0, {}, at::tensor({std::log(4.0f), 0.0f})};
  for (const at::Tensor& out :
       {attend(q, k, v, {{0, 2, -1}}, shape), attend_by_operations(q, k, v, {{0, 2, -1}}, shape)}) {
    EXPECT_NEAR(out[1][0][0].item<float>(), 4.0 / 8 + 8.0 * 3 / 8, 1e-5);
    EXPECT_NEAR(out[1][1][0].item<float>(), 4.0 / 5 + 8.0 * 3 / 5, 1e-5);
    EXPECT_NEAR(out[0][0][0].item<float>(), 4.0 / 5, 1e-6);  // the first query sees one key and the sink
  }
}

TEST(Attention, SinksAreSeenThroughAnyWindowAndFarOnesShutOrLeaveAttention) {
  const Inputs x = random_inputs(21, 4, 2, 17, 64);
  const at::Tensor sinks = at::tensor({1e4f, 0.5f, -1e4f, 3.0f});
  for (const std::optional<int64_t> window : {std::optional<int64_t>(), {1}, {4}}) {
    const AttentionShape shape{0.3, window, sinks}, plain{0.3, window};
    const at::Tensor out = attend(x.q, x.k, x.v, tree(), shape), without = attend(x.q, x.k, x.v, tree(), plain);
    EXPECT_TRUE(near(out, attend_by_operations(x.q, x.k, x.v, tree(), shape), 2e-6))
        << "window " << window.value_or(-1);
    EXPECT_EQ(out.select(1, 0).abs().max().item<float>(), 0);
    EXPECT_TRUE(at::equal(out.select(1, 2), without.select(1, 2)));
    EXPECT_FALSE(near(out.select(1, 1), without.select(1, 1), 1e-2));
  }
}

TEST(Attention, AWindowCountsTheTokenItselfAndCrossesSegments) {
  // Position 8 (second row of segment 1) with window 3 sees positions 6, 7 and 8: the last of the trunk and its own
  // two.
  const Inputs x = random_inputs(21, 1, 1, 4, 4);
  const at::Tensor out = attend(x.q, x.k, x.v, tree(), {0.5, 3});
  const at::Tensor keys = x.k.narrow(0, 6, 3).squeeze(1), values = x.v.narrow(0, 6, 3).squeeze(1);
  const at::Tensor expected = at::matmul((at::matmul(keys, x.q[8][0]) * 0.5).softmax(0), values);
  EXPECT_TRUE(near(out[8][0], expected, 1e-6));
}

TEST(Attention, RowsAreBitEqualWhateverElseIsInThePackAndHoweverManyThreadsRun) {
  const Inputs x = random_inputs(21, 4, 2, 16, 16);
  const AttentionShape shape{0.25, {}};
  const at::Tensor all = attend(x.q, x.k, x.v, tree(), shape);
  const auto rows = [](const at::Tensor& t, int64_t first, int64_t count) {
    return t.narrow(0, first, count).contiguous();
  };
  const at::Tensor alone = attend(rows(x.q, 17, 4), rows(x.k, 17, 4), rows(x.v, 17, 4), {{0, 4, -1}}, shape);
  EXPECT_TRUE(at::equal(alone, all.narrow(0, 17, 4)));
  // The path of segment 3 laid out as one sequence.
  const at::Tensor path = at::tensor({0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16}, at::kLong);
  const auto pick = [&](const at::Tensor& t) { return t.index_select(0, path); };
  EXPECT_TRUE(at::equal(attend(pick(x.q), pick(x.k), pick(x.v), {{0, 14, -1}}, shape), pick(all)));
  const int threads = at::get_num_threads();
  for (const int other : {1, 3}) {
    at::set_num_threads(other);
    EXPECT_TRUE(at::equal(attend(x.q, x.k, x.v, tree(), shape), all)) << other << " threads";
  }
  at::set_num_threads(threads);
}

TEST(Attention, OldRowsMayComeFromACache) {
  const Inputs x = random_inputs(10, 2, 1, 8, 8);
  const at::Tensor all = attend(x.q, x.k, x.v, {{0, 10, -1}}, {0.4, 5});
  const at::Tensor last = attend(x.q.narrow(0, 7, 3).contiguous(), x.k, x.v, {{0, 10, -1}}, {0.4, 5});
  EXPECT_TRUE(at::equal(last, all.narrow(0, 7, 3)));
}

TEST(Attention, LargeScoresDoNotOverflow) {
  Inputs x = random_inputs(6, 1, 1, 8, 8);
  x.q = x.q * 1e4;
  const at::Tensor out = attend(x.q, x.k, x.v, {{0, 6, -1}}, {1.0, {}});
  EXPECT_TRUE(at::isfinite(out).all().item<bool>());
  EXPECT_TRUE(near(out, attend_by_operations(x.q, x.k, x.v, {{0, 6, -1}}, {1.0, {}}), 1e-5));
}

}  // namespace
}  // namespace fare
