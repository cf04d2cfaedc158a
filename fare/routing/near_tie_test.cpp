#include "fare/routing/near_tie.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/routing/route.h"

namespace fare {
namespace {

RouterSpec router_of(int64_t experts, int64_t k) {
  RouterSpec router;
  router.num_experts = experts;
  router.top_k = k;
  return router;
}

// Scores 0.4, 0.3, 0.2, 0.1.
at::Tensor four() { return at::log(at::tensor({0.4f, 0.3f, 0.2f, 0.1f})).reshape({1, 4}); }

TEST(NearTie, IsTheGapAtTheEdgeOfTheSelection) {
  EXPECT_NEAR(selection_gaps(four(), router_of(4, 1))[0], 0.1, 1e-6);
  EXPECT_NEAR(selection_gaps(four(), router_of(4, 3))[0], 0.1, 1e-6);
  EXPECT_TRUE(std::isinf(selection_gaps(four(), router_of(4, 4))[0]));
}

TEST(NearTie, CountsTheCorrectionBias) {
  RouterSpec router = router_of(4, 2);
  router.selection_bias = {0, 0, 0.1f, 0};  // 0.3 against 0.2 + 0.1
  EXPECT_LE(selection_gaps(four(), router)[0], kRoutingNearTie);
  router.selection_bias = {0, 0, 0, 0.35f};  // 0.45, 0.4 | 0.3
  EXPECT_NEAR(selection_gaps(four(), router)[0], 0.1, 1e-6);
}

TEST(NearTie, ReadsLogitsWhereTheyDecide) {
  RouterSpec router = router_of(3, 1);
  const at::Tensor logits = at::tensor({90.0f, 0.5f, 0.0f}).reshape({1, 3});
  router.top_k = 2;
  EXPECT_LE(selection_gaps(logits, router)[0], kRoutingNearTie);  // both scores are 0 in float32
  router.select_by_logit = true;
  EXPECT_NEAR(selection_gaps(logits, router)[0], 0.5, 1e-6);
}

TEST(NearTie, CountsTheEdgeBetweenGroups) {
  RouterSpec router = router_of(4, 1);
  router.num_groups = 2;
  router.top_groups = 1;
  const at::Tensor logits = at::log(at::tensor({0.3f, 0.1f, 0.3f, 0.3f})).reshape({1, 4});
  EXPECT_LE(selection_gaps(logits, router)[0], kRoutingNearTie);
}

// Whatever the rule: moving the values by less than half the gap changes no selection, and just over the gap does.
TEST(NearTie, TellsHowFarAnotherSelectionIs) {
  const at::Tensor logits = at::randn({64, 8}, at::make_generator<at::CPUGeneratorImpl>(5));
  RouterSpec router = router_of(8, 3);
  router.selection_bias = {0.05f, -0.03f, 0, 0.02f, 0, 0.01f, -0.02f, 0};
  const std::vector<double> gaps = selection_gaps(logits, router);
  for (int64_t t = 0; t < 64; ++t) {
    const at::Tensor row = logits.narrow(0, t, 1);
    const at::Tensor before = std::get<0>(route(row, router).before.ids_TK.sort(1));
    const int32_t last = route(row, router).before.ids_TK[0][2].item<int32_t>();
    for (const double factor : {0.99, 1.01}) {
      RouterSpec moved = router;
      moved.selection_bias[static_cast<size_t>(last)] -= static_cast<float>(factor * gaps[static_cast<size_t>(t)]);
      const at::Tensor after = std::get<0>(route(row, moved).before.ids_TK.sort(1));
      EXPECT_EQ(before.equal(after), factor < 1) << t;
    }
  }
}

}  // namespace
}  // namespace fare
