#include "fare/scoring/divergence.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fare/core/test_folder.h"
#include "fare/models/test_models.h"

namespace fare {
namespace {

struct TwoRuns {
  explicit TwoRuns(at::ScalarType type) {
    testing::RandomShape shape;
    shape.vocab = 5001;  // two blocks and a part
    testing::write_random_model(folder.path(), shape, 1);
    model = Model::open(folder.path(), {type, MatmulBackend::kOneDnn});
    at::manual_seed(3);
    p_TD = at::randn({9, model->spec().hidden_size}) * 3;
    q_TD = p_TD + at::randn_like(p_TD);
  }
  at::Tensor log_p(const at::Tensor& h_TD) const { return model->head(h_TD).to(at::kDouble).log_softmax(-1); }

  TestFolder folder;
  std::unique_ptr<Model> model;
  at::Tensor p_TD, q_TD;
};

TEST(Divergences, AreThoseOfTheWholeSoftmaxWithLogitsKeptOrNot) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const TwoRuns runs(type);
    const at::Tensor log_p = runs.log_p(runs.p_TD), log_q = runs.log_p(runs.q_TD);
    const std::vector<int32_t> rows = {1, 3, 5, 7}, other = {8, 0, 5}, tokens = {5000, 7, 2048};
    const std::vector<int64_t> which = {3, 0, 2};
    for (const int64_t most_bytes : {int64_t{0}, int64_t{1} << 30}) {
      const ReferenceRows reference = reference_rows(*runs.model, runs.p_TD, rows, most_bytes);
      EXPECT_EQ(reference.logits_NV.defined(), most_bytes > 0);
      const auto found = divergences(*runs.model, reference, which, runs.q_TD, other, tokens);
      ASSERT_EQ(found.size(), 3u);
      for (size_t r = 0; r < found.size(); ++r) {
        const at::Tensor p = log_p[rows[static_cast<size_t>(which[r])]], q = log_q[other[r]];
        const double kl = (p.exp() * (p - q)).sum().item<double>();
        EXPECT_NEAR(found[r].kl_nats, kl, 2e-6 * kl) << r;
        EXPECT_NEAR(found[r].logprob_change, (p[tokens[r]] - q[tokens[r]]).item<double>(), 1e-5) << r;
      }
    }
  }
}

TEST(Divergences, SmallOnesKeepTheirSize) {
  const TwoRuns runs(at::kFloat);
  std::vector<int32_t> rows(9);
  std::iota(rows.begin(), rows.end(), 0);
  const at::Tensor close = runs.p_TD + (runs.q_TD - runs.p_TD) * 1e-2;
  const at::Tensor p = runs.log_p(runs.p_TD), q = runs.log_p(close);
  const double kl = (p.exp() * (p - q)).sum(1).mean().item<double>();
  EXPECT_LT(kl, 2e-3);
  EXPECT_NEAR(mean_kl_nats(*runs.model, runs.p_TD, rows, close, rows), kl, 1e-3 * kl);
  EXPECT_NEAR(mean_kl_nats(*runs.model, runs.p_TD, rows, runs.p_TD, rows), 0, 1e-12);
  EXPECT_EQ(mean_kl_nats(*runs.model, runs.p_TD, {}, runs.p_TD, {}), 0);
}

TEST(Divergences, ANanIsAnError) {
  const TwoRuns runs(at::kFloat);
  at::Tensor bad = runs.q_TD.clone();
  bad[1][0] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<int32_t> row = {1};
  EXPECT_HAS(message_of<NumericError>([&] { mean_kl_nats(*runs.model, runs.p_TD, row, bad, row); }), "NaN");
}

}  // namespace
}  // namespace fare
