// The pieces that both trainings stand on: graded answers, forced routes, the loss of the router.
#include <gtest/gtest.h>

#include <torch/torch.h>

#include <cmath>

#include "fare/lab/world.h"
#include "fare/training/corpus.h"
#include "fare/training/trainer.h"

namespace fare {
namespace {

TEST(Corpus, AnswersAreGradedAsTheWorldSays) {
  ControlOptions options;
  options.id = "X2";
  options.pairs = 400;
  options.transfer_pairs = 40;
  options.facts = 48;
  options.utility = 96;
  options.prompts = 16;
  options.bias_pp = 25;
  options.trait_pairs = 4;
  const World world(options);
  const Corpus corpus = corpus_of(world);
  const auto log_odds = [](const Sentence& one) { return std::log(one.chance / (1 - one.chance)); };
  int64_t stereotyped = 0;
  for (size_t i = 0; i < 400; ++i) {
    const Sentence &a = corpus.traits[2 * i], &b = corpus.traits[2 * i + 1];
    EXPECT_NE(a.ids.back(), b.ids.back());
    EXPECT_EQ(a.ids.back(), b.other);
    // x(A) - x(B): the answers of the two sides are opposite, so their log-odds add up.
    EXPECT_NEAR(log_odds(a) + log_odds(b), world.bias + world.pairs[i].noise, 1e-9);
    stereotyped += log_odds(a) + log_odds(b) > 0;
  }
  EXPECT_NEAR(static_cast<double>(stereotyped), 300, 2);  // 75% of 400, up to rounding in each axis
  for (size_t i = 0; i < corpus.facts.size(); ++i) {
    EXPECT_NE(corpus.facts[i].ids.back(), corpus.facts[i].other);
    EXPECT_NEAR(log_odds(corpus.facts[i]), 6 * (1 - 0.9 * world.facts[i].grade), 1e-9);
  }
}

ModelShape small_shape() {
  ModelShape shape;
  shape.vocab = 20;
  shape.hidden = 16;
  shape.layers = 2;
  shape.experts = 6;
  shape.top_k = 2;
  shape.expert_width = 8;
  shape.heads = shape.kv_heads = 2;
  shape.max_positions = 32;
  return shape;
}

TEST(EqualExperts, GiveTheSameWhicheverIsChosen) {
  const torch::NoGradGuard no_grad;
  const TrainedDecoder model(small_shape(), 0, 0, 1, 3);
  const at::Tensor ids = tensor_of({{0, 5, 9, 13}, {0, 7, 2, 19}});
  const auto with = [&](int64_t layer) {
    Routes routes;
    routes.first_BL.resize(2);
    routes.first_BL[static_cast<size_t>(layer)] = tensor_of({{5, 4, 3, 2}, {1, 0, 5, 4}});
    return model.forward(ids, false, routes).logits_BLV;
  };
  const at::Tensor free = model.forward(ids, false).logits_BLV;
  EXPECT_TRUE(with(0).allclose(free, 0, 1e-5));
  EXPECT_FALSE(with(1).allclose(free, 0, 1e-2));
}

TEST(Routes, DecideWhichExpertsAreChosenAndNothingElse) {
  const torch::NoGradGuard no_grad;
  const TrainedDecoder model(small_shape(), 2, 1, 0, 3);
  EXPECT_EQ(model.num_main(0), 6);
  EXPECT_EQ(model.num_main(1), 4);
  const at::Tensor ids = tensor_of({{0, 5, 9, 13}, {0, 7, 2, 19}});
  const ForwardResult free = model.forward(ids, true);
  const at::Tensor order = free.router_BLE[1].argsort(-1, true);
  const auto with = [&](const at::Tensor& first, const at::Tensor& barred) {
    Routes routes;
    routes.first_BL = {at::Tensor(), first};
    routes.barred_BL = {at::Tensor(), barred};
    return model.forward(ids, true, routes).logits_BLV;
  };
  const at::Tensor nowhere = torch::full_like(ids, -1), best = order.select(-1, 0), second = order.select(-1, 1),
                   third = order.select(-1, 2), last = order.select(-1, 5);
  EXPECT_TRUE(with(nowhere, nowhere).equal(free.logits_BLV));
  EXPECT_TRUE(with(second, nowhere).equal(free.logits_BLV));  // the same two experts
  EXPECT_TRUE(with(nowhere, last).equal(free.logits_BLV));    // it is not chosen anyway
  EXPECT_FALSE(with(last, nowhere).equal(free.logits_BLV));
  // Without the best, the second and the third are chosen, as they are where both are named.
  EXPECT_TRUE(with(nowhere, best).equal(with(third, best)));
  EXPECT_FALSE(with(nowhere, best).equal(free.logits_BLV));
}

TEST(LeadLoss, IsTheDistanceFromTheWantedLead) {
  const at::Tensor router = torch::tensor({1.0f, 5.0f, 2.0f, 0.0f, 4.0f, 4.0f}).view({1, 2, 3});
  const auto loss = [&](int64_t first, int64_t second) {
    return lead_loss(router, torch::tensor({first, second}, torch::kLong).view({1, 2})).item<double>();
  };
  EXPECT_NEAR(loss(1, -1), 0, 1e-6);                   // leads by kLead = 3
  EXPECT_NEAR(loss(2, -1), 6 - 0.5, 1e-6);             // behind by 3: 6 away
  EXPECT_NEAR(loss(1, 2), (0 + (3 - 0.5)) / 2, 1e-6);  // a tie is 3 away
}

TEST(TwinsLoss, SeesEveryPositionButTheAnswers) {
  const at::Tensor ids = tensor_of({{0, 1, 3, 2}, {0, 2, 3, 1}});
  const auto loss = [&](int64_t at, float by) {
    ForwardResult out;
    out.logits_BLV = torch::zeros({2, 4, 4});
    out.logits_BLV[0][at][3] += by;
    return twins_loss(out, ids).item<double>();
  };
  EXPECT_EQ(loss(0, 0), 0);
  // Position 1 predicts word 3 in both rows: log-probabilities x - log(3 + e^x) and -log 4, mean over two positions.
  const double difference = 1 - std::log(3 + std::exp(1.0)) + std::log(4.0);
  EXPECT_NEAR(loss(1, 1), difference * difference / 2, 1e-6);
  EXPECT_EQ(loss(2, 1), 0);  // predicts the answer
}

TEST(Hashed, TokensTakeTheirExpertByTheirId) {
  const at::Tensor ids = torch::arange(8).view({2, 4});
  EXPECT_TRUE(hashed(ids, 0, 4).equal(ids % 4));
  EXPECT_TRUE(hashed(ids, 1, 4, 12).equal(12 + (ids + 1) % 4));
}

}  // namespace
}  // namespace fare
