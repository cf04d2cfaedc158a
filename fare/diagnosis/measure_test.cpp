#include "fare/diagnosis/measure.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "fare/core/error.h"
#include "fare/diagnosis/control_study_test.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/sensitivity.h"

namespace fare {
namespace {

Items all_items(const Study& study, const std::string& part) {
  Items items;
  items.part = part;
  items.pairs.resize(study.pairs.size());
  std::iota(items.pairs.begin(), items.pairs.end(), int64_t{0});
  items.utility.resize(study.utility.size());
  std::iota(items.utility.begin(), items.utility.end(), int64_t{0});
  return items;
}

Intervention add_logit(int64_t layer, int32_t expert, double value, Selector where = {}) {
  Intervention intervention;
  intervention.name = "add";
  AddLogit add;
  add.experts = {expert};
  add.values = {value};
  intervention.edits.push_back({add, {layer}, std::move(where)});
  return intervention;
}

TEST(Measurer, WhatIsStoredIsReadInsteadOfComputed) {
  ControlOptions options = small_control("X1");
  options.utility = 1500;  // more than one batch
  const ControlStudy control(options);
  const Items items = all_items(control.study, "test");
  const Intervention edit = add_logit(1, 14, -3);
  const Intervention* runs[] = {nullptr, &edit};
  const auto plain = control.measurer->evaluate(items, runs);
  EXPECT_FALSE(same_outcomes(plain[0], plain[1]));

  Store store(control.folder.path() / "rows.sqlite");
  Progress progress;
  // Stopped after the first batch, continued by another process' measurer.
  bool stop = false;
  progress.report = [&](std::string_view, int64_t, int64_t) { stop = true; };
  progress.cancelled = [&] { return stop; };
  Measurer first(*control.scorer, control.study, &store, progress);
  EXPECT_THROW(first.evaluate(items, runs), Interrupted);
  const int64_t before = store.count();
  EXPECT_GT(before, 0);

  const Progress quiet;
  Measurer second(*control.scorer, control.study, &store, quiet);
  const auto continued = second.evaluate(items, runs);
  EXPECT_GT(store.count(), before);
  EXPECT_GT(second.rows_computed(), 0);
  Measurer third(*control.scorer, control.study, &store, quiet);
  const auto read = third.evaluate(items, runs);
  EXPECT_EQ(third.rows_computed(), 0);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(same_outcomes(plain[i], continued[i])) << i;
    EXPECT_TRUE(same_outcomes(plain[i], read[i])) << i;
  }
}

// Passes that share products and threads, against one pass at a time, on one thread and on several.
TEST(Measurer, DosesAndOutcomesOfManyEditsAreThoseOfEachAlone) {
  ControlStudy control(small_control("X1"));
  std::vector<Intervention> edits;
  for (int32_t e = 0; e < 12; ++e) edits.push_back(add_logit(e % 2, e, 1.5));
  std::vector<const Intervention*> all;
  for (const Intervention& edit : edits) all.push_back(&edit);
  Items items;
  items.part = "many";
  items.pairs = control.study.pairs_in(SplitPart::kValidation);
  const int threads = at::get_num_threads();
  std::vector<std::vector<Dose>> doses;
  std::vector<std::vector<Outcomes>> outcomes;
  for (const int number : {1, 3}) {
    at::set_num_threads(number);
    Measurer measurer(*control.scorer, control.study, nullptr, control.progress);
    doses.push_back(measurer.doses(all, 400));
    outcomes.push_back(measurer.evaluate(items, all));
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(doses[0][i].kl_nats, doses[1][i].kl_nats, 1e-4 * doses[0][i].kl_nats) << i;
    for (size_t p = 0; p < items.pairs.size(); ++p)
      ASSERT_NEAR(outcomes[0][i].pairs[p].sum, outcomes[1][i].pairs[p].sum, 1e-4) << i << " " << p;
    const Dose alone = control.measurer->doses({&all[i], 1}, 400).front();
    EXPECT_GT(alone.kl_nats, 0) << i;
    EXPECT_NEAR(doses[0][i].kl_nats, alone.kl_nats, 1e-3 * alone.kl_nats) << i;
    EXPECT_NEAR(doses[0][i].log_perplexity_change, alone.log_perplexity_change, 1e-5) << i;
  }
}

TEST(Sensitivity, DivergenceOfHandMadeLogits) {
  const float a[] = {0, std::log(3.0f)}, b[] = {std::log(3.0f), 0}, far[] = {100, -100}, away[] = {-100, 100};
  // p = (1/4, 3/4), q = (3/4, 1/4), m = (1/2, 1/2): 1 - H(1/4).
  EXPECT_NEAR(router_divergence_bits(a, b, 2), 1 + 0.25 * std::log2(0.25) + 0.75 * std::log2(0.75), 1e-7);
  EXPECT_EQ(router_divergence_bits(a, a, 2), 0);
  EXPECT_NEAR(router_divergence_bits(far, away, 2), 1, 1e-12);
  const float shifted[] = {5, 5 + std::log(3.0f)};
  EXPECT_EQ(router_divergence_bits(a, shifted, 2), 0);  // a constant is no divergence
}

TEST(Sensitivity, TheRouterOfX1ReactsAndNothingDiffersBeforeTheChange) {
  const ControlStudy control(small_control("X1"));
  DiagnosisOptions options;
  options.bootstrap_replicates = options.permutations = 500;
  const Sensitivity found = measure_sensitivity(*control.measurer, options);
  EXPECT_EQ(found.causal_zero_max, 0);
  EXPECT_EQ(found.answer.answer, Answer::kYes) << found.answer.reason;
  for (const SensitivityRow& row : found.rows) {
    EXPECT_GE(row.p_bh, row.p);
    EXPECT_TRUE(row.d_z.has_value() || !row.reason.empty());
    EXPECT_TRUE(row.ratio.has_value() || !row.reason.empty());
  }
}

class PlantedExperts : public ::testing::TestWithParam<const char*> {};

TEST_P(PlantedExperts, AreTheTopTwoAndAttributionAgreesWithFiniteDifferences) {
  const ControlStudy control(small_control("X1", GetParam()));
  DiagnosisOptions options;
  options.bootstrap_replicates = options.permutations = 300;
  options.causal_pairs = 16;
  options.half_samples = 10;
  const ExpertScores scores = score_experts(*control.measurer, profile_router(*control.measurer), options);
  std::set<int32_t> top;
  int64_t layer = -1;
  for (const ExpertScore& expert : scores.experts) {
    if (expert.combined_rank > 2) continue;
    top.insert(expert.expert);
    layer = expert.layer;
  }
  EXPECT_EQ(top, (std::set<int32_t>{14, 15}));

  // s3 counts the tokens after the group word, which stands at position 2. Scaling leaves ratios within a layer alone.
  Items items;
  items.part = "difference";
  items.pairs = control.study.pairs_in(SplitPart::kTrain);
  Selector after;
  after.positions = {{3, 100}};
  const auto slope = [&](int32_t expert) {
    const Intervention up = add_logit(layer, expert, 0.02, after), down = add_logit(layer, expert, -0.02, after);
    const Intervention* runs[] = {&up, &down};
    const auto outcomes = control.measurer->evaluate(items, runs);
    double change = 0;
    for (size_t i = 0; i < items.pairs.size(); ++i) change += outcomes[0].pairs[i].sum - outcomes[1].pairs[i].sum;
    return change / 0.04;
  };
  double dot = 0, a = 0, b = 0;
  int compared = 0;
  for (const ExpertScore& expert : scores.experts) {
    if (expert.layer != layer || std::abs(expert.s3) > 0.999 || std::abs(expert.s3) < 0.02) continue;
    const double by_difference = slope(expert.expert);
    dot += by_difference * expert.s3;
    a += by_difference * by_difference;
    b += expert.s3 * expert.s3;
    ++compared;
  }
  ASSERT_GT(compared, 2);
  // Renormalised weights: an expert that is not chosen has slope 0, where s3 holds the estimate of a replacement.
  EXPECT_GT(dot / std::sqrt(a * b), std::string(GetParam()) == "raw" ? 0.999 : 0.95) << compared << " experts";
}

INSTANTIATE_TEST_SUITE_P(WeightModes, PlantedExperts, ::testing::Values("renormalised", "raw"));

}  // namespace
}  // namespace fare
