#include "fare/models/experts.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <atomic>
#include <set>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

struct Block {
  std::vector<ExpertWeights> experts;
  at::Tensor x_TD;
  Route route;
};

Block random_block(int64_t rows, int64_t num_experts, int64_t k, at::ScalarType type = at::kFloat) {
  at::manual_seed(11);
  Block block;
  const int64_t width = 24, inner = 16;
  for (int64_t e = 0; e < num_experts; ++e)
    block.experts.push_back({(at::randn({inner, width}) * 0.3).to(type),
                             (at::randn({inner, width}) * 0.3).to(type),
                             (at::randn({width, inner}) * 0.3).to(type),
                             {},
                             {},
                             {}});
  block.x_TD = at::randn({rows, width}).to(type);
  block.route.ids_TK = std::get<1>(at::rand({rows, num_experts}).sort(1)).narrow(1, 0, k).to(at::kInt).contiguous();
  block.route.weights_TK = at::rand({rows, k});
  return block;
}

at::Tensor naive(const Block& block) {
  at::Tensor y = at::zeros({block.x_TD.size(0), block.x_TD.size(1)});
  for (int64_t t = 0; t < block.x_TD.size(0); ++t)
    for (int64_t slot = 0; slot < block.route.ids_TK.size(1); ++slot) {
      const int32_t id = block.route.ids_TK[t][slot].item<int32_t>();
      if (id < 0) continue;
      const ExpertWeights& w = block.experts[static_cast<size_t>(id)];
      const at::Tensor x = block.x_TD[t].to(at::kFloat);
      const at::Tensor gate = at::mv(w.gate_ID.to(at::kFloat), x), up = at::mv(w.up_ID.to(at::kFloat), x);
      y[t] += block.route.weights_TK[t][slot] * at::mv(w.down_DI.to(at::kFloat), at::silu(gate) * up);
    }
  return y;
}

at::Tensor routed(const Block& block, MatmulBackend backend = MatmulBackend::kOneDnn) {
  return routed_output(
      block.x_TD, block.route, static_cast<int64_t>(block.experts.size()),
      [&](int64_t e) { return block.experts[static_cast<size_t>(e)]; }, backend);
}

TEST(Experts, SortedProductsEqualTheNaiveLoopOverRowsAndSlots) {
  for (const auto& [experts, k] : {std::pair{1, 1}, {2, 1}, {3, 3}, {16, 4}, {64, 8}})
    for (const int64_t rows : {1, 2, 37})
      for (const MatmulBackend backend : {MatmulBackend::kMkl, MatmulBackend::kOneDnn}) {
        const Block block = random_block(rows, experts, k);
        EXPECT_TRUE(near(routed(block, backend), naive(block), 2e-6))
            << experts << " experts, k " << k << ", " << rows << " rows";
      }
}

TEST(Experts, ThreadsOverExpertsAndThreadsInsideAProductAgree) {
  const Block block = random_block(50, 16, 4);  // enough experts for both ways
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = routed(block);
  at::set_num_threads(4);
  const at::Tensor over_experts = routed(block);
  at::set_num_threads(16);
  const at::Tensor inside = routed(block);
  at::set_num_threads(threads);
  EXPECT_TRUE(near(over_experts, one, 1e-6));
  EXPECT_TRUE(near(inside, one, 1e-6));
}

// One expert whose gate and up are the identity on (g, u) pairs and whose down sums nothing.
at::Tensor clamped(const std::vector<float>& pairs, double limit, double alpha, at::ScalarType type, bool gradient) {
  const int64_t n = static_cast<int64_t>(pairs.size());
  ExpertWeights weights;
  weights.clamped = ClampedGate{at::eye(n).to(type), {}, limit, alpha};
  weights.down_DI = at::eye(n / 2).to(type);
  at::Tensor x = at::tensor(at::ArrayRef<float>(pairs)).view({1, n}).to(type);
  if (gradient) x.requires_grad_(true);
  return expert_output(x, weights, MatmulBackend::kMkl).detach().to(at::kFloat).flatten();
}

TEST(Experts, TheClampedActivationGivesThePublishedValues) {
  // (g, u) -> z with limit 7 and alpha 1.702; clamped at 10 and -9, u below its limit gives 0 at -1.
  const std::vector<float> pairs = {1, 0.5f, 10, -9, -8, 8, 0, 3, 7, -1};
  const std::vector<double> expected = {1.2686936, -41.9997188, -7.813143e-5, 0, 0};
  for (const bool gradient : {false, true}) {
    const at::Tensor z = clamped(pairs, 7, 1.702, at::kFloat, gradient);
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_NEAR(z[i].item<double>(), expected[static_cast<size_t>(i)],
                  2e-7 * std::max(1.0, std::abs(expected[static_cast<size_t>(i)])));
    EXPECT_NEAR(z[2].item<double>(), expected[2], 1e-9);
    EXPECT_TRUE(near(clamped(pairs, 7, 1.702, at::kBFloat16, gradient), z, 1e-2));
    // limit 2, alpha 1: min(10, 2) sigmoid(2) (-2 + 1).
    EXPECT_NEAR(clamped(pairs, 2, 1, at::kFloat, gradient)[1].item<double>(), -2 / (1 + std::exp(-2.0)), 1e-6);
    EXPECT_EQ(clamped({-1e30f, 1}, 7, 1.702, at::kFloat, false)[0].item<float>(), 0);  // no 0 * inf
  }
}

TEST(Experts, TheClampedFormIsDifferentiableAndReadsATransposedMatrix) {
  at::manual_seed(5);
  for (const MatmulBackend backend : {MatmulBackend::kMkl, MatmulBackend::kOneDnn}) {
    ExpertWeights weights;
    weights.clamped = ClampedGate{at::randn({24, 32}).t(), at::randn({32}), 0.9, 1.3};  // stored [in, out]
    weights.down_DI = at::randn({16, 24}).t();
    weights.down_bias_D = at::randn({24});
    at::Tensor x = at::randn({5, 24});
    const at::Tensor plain = expert_output(x, weights, backend);
    ExpertWeights copied = weights;
    copied.clamped->weight_JD = weights.clamped->weight_JD.contiguous();
    copied.down_DI = weights.down_DI.contiguous();
    EXPECT_TRUE(near(expert_output(x, copied, backend), plain, 1e-5));
    const at::Tensor pairs = at::matmul(x, weights.clamped->weight_JD.t()) + weights.clamped->bias_J;
    const at::Tensor g = pairs.slice(1, 0, 32, 2).clamp_max(0.9), u = pairs.slice(1, 1, 32, 2).clamp(-0.9, 0.9);
    EXPECT_TRUE(
        near(plain, at::matmul(g * at::sigmoid(1.3 * g) * (u + 1), weights.down_DI.t()) + weights.down_bias_D, 1e-5));
    x.requires_grad_(true);
    const at::Tensor y = expert_output(x, weights, backend), direction = at::randn_like(plain),
                     move = at::randn({5, 24});
    EXPECT_TRUE(near(y.detach(), plain, 1e-5));
    const double slope = (torch::autograd::grad({(y * direction).sum()}, {x})[0] * move).sum().item<double>();
    const at::NoGradGuard no_grad;
    const auto at_step = [&](double step) {
      return (expert_output(x + step * move, weights, backend) * direction).sum().item<double>();
    };
    EXPECT_NEAR(slope, (at_step(1e-3) - at_step(-1e-3)) / 2e-3, 2e-2 * std::abs(slope) + 0.1);
  }
}

TEST(Experts, ARepeatedRunIsBitEqual) {
  const Block block = random_block(50, 16, 4);
  const at::Tensor first = routed(block);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(routed(block), first));
}

TEST(Experts, AbsentSlotsAndRowsWithoutExpertsGiveZero) {
  Block block = random_block(9, 8, 3);
  block.route.ids_TK[2].fill_(-1);
  block.route.ids_TK[5][1] = -1;
  block.route.weights_TK.masked_fill_(block.route.ids_TK < 0, 0);
  const at::Tensor y = routed(block);
  EXPECT_EQ(y[2].abs().max().item<float>(), 0);
  EXPECT_TRUE(near(y, naive(block), 2e-6));
  block.route.ids_TK.fill_(-1);
  EXPECT_EQ(routed(block).abs().max().item<float>(), 0);
}

TEST(Experts, OnlyExpertsWithRowsAreAskedFor) {
  Block block = random_block(20, 8, 2);
  block.route.ids_TK.select(1, 0).fill_(3);
  block.route.ids_TK.select(1, 1).fill_(6);
  std::mutex guard;
  std::multiset<int64_t> asked;
  routed_output(
      block.x_TD, block.route, 8,
      [&](int64_t e) {
        const std::lock_guard lock(guard);
        asked.insert(e);
        return block.experts[static_cast<size_t>(e)];
      },
      MatmulBackend::kOneDnn);
  EXPECT_EQ(asked, (std::multiset<int64_t>{3, 6}));
}

TEST(Experts, Bfloat16KeepsItsPrecision) {
  const Block block = random_block(40, 16, 4, at::kBFloat16);
  const at::Tensor y = routed(block);
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_TRUE(near(y, naive(block), 2e-2));
  EXPECT_FALSE(near(y, naive(block), 1e-5)) << "float32 weights were used";
}

TEST(Experts, AFailureInAThreadReachesTheCaller) {
  const Block block = random_block(50, 16, 4);
  const int threads = at::get_num_threads();
  at::set_num_threads(4);
  EXPECT_THROW(routed_output(
                   block.x_TD, block.route, 16,
                   [&](int64_t e) -> ExpertWeights {
                     if (e == 7) throw NumericError("tensor 'x' holds NaN");
                     return block.experts[static_cast<size_t>(e)];
                   },
                   MatmulBackend::kOneDnn),
               NumericError);
  at::set_num_threads(threads);
}

TEST(Experts, GradientsFlowToInputsAndWeightsOfTheRoute) {
  Block block = random_block(6, 4, 2);
  const at::Tensor plain = routed(block);
  block.x_TD.requires_grad_(true);
  block.route.weights_TK.requires_grad_(true);
  const at::Tensor y = routed(block);
  EXPECT_TRUE(near(y.detach(), plain, 1e-6));
  const at::Tensor u = at::randn_like(plain);
  const auto gradient = torch::autograd::grad({(y * u).sum()}, {block.x_TD, block.route.weights_TK});
  // Along one direction each, by central differences in the naive loop.
  const at::NoGradGuard no_grad;
  const auto slope = [&](at::Tensor& value, const at::Tensor& direction, float step) {
    const at::Tensor kept = value;
    Block moved = block;
    (&value == &block.x_TD ? moved.x_TD : moved.route.weights_TK) = kept + step * direction;
    const double up = (naive(moved) * u).sum().item<double>();
    (&value == &block.x_TD ? moved.x_TD : moved.route.weights_TK) = kept - step * direction;
    return (up - (naive(moved) * u).sum().item<double>()) / (2 * step);
  };
  const at::Tensor dx = at::randn_like(block.x_TD), dw = at::randn_like(block.route.weights_TK);
  EXPECT_NEAR((gradient[0] * dx).sum().item<double>() / slope(block.x_TD, dx, 1e-2f), 1, 2e-3);
  EXPECT_NEAR((gradient[1] * dw).sum().item<double>() / slope(block.route.weights_TK, dw, 1e-1f), 1, 1e-4);
}

TEST(Experts, GradientsOnSeveralThreadsAreThoseOfOneWithAbsentSlotsAndInBfloat16) {
  const auto gradients = [](at::ScalarType type, int threads, bool of_input) {
    Block block = random_block(50, 16, 4, type);
    block.route.ids_TK[2].fill_(-1);
    block.route.ids_TK[5][1] = -1;
    block.x_TD.requires_grad_(of_input);
    block.route.weights_TK.requires_grad_(true);
    at::set_num_threads(threads);
    const at::Tensor y = routed(block), u = at::randn_like(y);
    std::vector<at::Tensor> asked = {block.route.weights_TK};
    if (of_input) asked.push_back(block.x_TD);
    return torch::autograd::grad({(y * u).sum()}, asked);
  };
  const int threads = at::get_num_threads();
  const auto one = gradients(at::kFloat, 1, true), four = gradients(at::kFloat, 4, true),
             coarse = gradients(at::kBFloat16, 4, true), weights_alone = gradients(at::kFloat, 4, false);
  at::set_num_threads(threads);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(near(four[i], one[i], 1e-5));
    EXPECT_TRUE(near(coarse[i].to(at::kFloat), one[i], 5e-2));
  }
  EXPECT_TRUE(near(weights_alone[0], one[0], 1e-5));
  EXPECT_EQ(one[0][2].abs().max().item<float>(), 0);
  EXPECT_EQ(one[0][5][1].item<float>(), 0);
  EXPECT_EQ(one[1][2].abs().max().item<float>(), 0);
  EXPECT_GT(one[1][5].abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace fare
