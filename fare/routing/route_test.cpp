#include "fare/routing/route.h"

#include <gtest/gtest.h>

namespace fare {
namespace {

// Router vectors computed with public reference code of the families.
const std::vector<float> kLogits = {1, 0.5f, 2, -1, 0, 1.5f};

at::Tensor one_row(const std::vector<float>& logits_E) {
  return at::tensor(logits_E, at::kFloat).view({1, static_cast<int64_t>(logits_E.size())});
}

void expect_route(const Route& route, int64_t row, const std::vector<int32_t>& ids, const std::vector<double>& weights,
                  double tolerance = 1e-6) {
  ASSERT_EQ(route.ids_TK.size(1), static_cast<int64_t>(ids.size()));
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t slot = static_cast<int64_t>(i);
    EXPECT_EQ(route.ids_TK[row][slot].item<int32_t>(), ids[i]) << "slot " << i;
    EXPECT_NEAR(route.weights_TK[row][slot].item<float>(), weights[i], tolerance) << "slot " << i;
  }
}

RouterSpec spec_of(int64_t num_experts, int64_t top_k, WeightMode mode) {
  RouterSpec spec;
  spec.num_experts = num_experts;
  spec.top_k = top_k;
  spec.weight_mode = mode;
  return spec;
}

TEST(Route, MatchesTheReferenceRouters) {
  RouterSpec spec = spec_of(6, 3, WeightMode::kRaw);
  expect_route(route(one_row(kLogits), spec).before, 0, {2, 5, 0}, {0.419699, 0.254560, 0.154398});
  spec.weight_mode = WeightMode::kRenormalised;
  expect_route(route(one_row(kLogits), spec).before, 0, {2, 5, 0}, {0.506480, 0.307196, 0.186324});
}

}  // namespace
}  // namespace fare
