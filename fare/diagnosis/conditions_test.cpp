#include "fare/diagnosis/conditions.h"

#include <gtest/gtest.h>

#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

BreadthPoint point(int64_t k, double low) {
  BreadthPoint result;
  result.k = k;
  result.shift.interval95 = {low, low + 4};
  return result;
}

TEST(BreadthThreshold, MustHoldForAllLargerBreadths) {
  EXPECT_EQ(breadth_threshold(std::vector{point(1, 0), point(2, 4), point(5, 6)}, 3), std::optional<int64_t>(2));
  EXPECT_EQ(breadth_threshold(std::vector{point(1, 4), point(2, 2), point(5, 6)}, 3), std::optional<int64_t>(5));
  EXPECT_FALSE(breadth_threshold(std::vector{point(1, 4), point(2, 6), point(5, 3)}, 3));  // exceeds, not reaches
  EXPECT_FALSE(breadth_threshold({}, 3));
}

DiagnosisOptions quick() {
  DiagnosisOptions options;
  options.permutations = options.bootstrap_replicates = 200;
  options.half_samples = 0;
  options.causal_pairs = 4;
  return options;
}

struct Measured {
  explicit Measured(const ControlOptions& made) : control(made), options(quick()) {
    profile = profile_router(*control.measurer);
    scores = score_experts(*control.measurer, profile, options);
    signs.assign(control.study.axes.size(), 1);
    search.rows.resize(1);
    SearchRow& row = search.rows[0];
    row.configuration = {.family = "I1", .score = "s3", .k = 2, .lambda = 4};
    row.name = "hand-made";
    row.experts = chosen_experts(row.configuration, scores, control.measurer->model(), 0);
    row.intervention =
        make_intervention(row.configuration, row.experts, profile, control.measurer->model().router.top_k);
    search.reach = 0;
    test = open_test(*control.measurer, SearchResult());
  }
  Conditions measure(std::span<const RoutedExpert> top) {
    return measure_conditions(*control.measurer, search, scores, profile, top, test, signs, options);
  }
  ControlStudy control;
  DiagnosisOptions options;
  RouterProfile profile;
  ExpertScores scores;
  std::vector<int> signs;
  SearchResult search;
  TestOutcomes test;
};

const std::vector<RoutedExpert> kPlanted = {{1, 14}, {1, 15}};

TEST(Conditions, BreadthOfAPlantedPairIsFiveAtMost) {
  ControlOptions made = small_control("X1");
  made.pairs = 960;  // a fifth of them is validated on: enough for the planted shift to be seen
  Measured run(made);
  const Conditions found = run.measure(kPlanted);
  ASSERT_TRUE(found.k_star) << found.k_star_reason;
  EXPECT_LE(*found.k_star, 5);
  EXPECT_EQ(found.breadth.front().k, 1);
  EXPECT_LT(found.breadth.front().shift.value_pp, found.breadth.back().shift.value_pp + 1e-9);
  EXPECT_FALSE(found.shared_scale);
  EXPECT_EQ(found.shared_scale_reason, "the model has no shared expert");
  ASSERT_EQ(found.buffering.size(), 2u);
  EXPECT_FALSE(found.buffering[1].buffering);
}

// The shared expert of this control model writes the stereotype; what routing changes is a smaller part of the output.
TEST(Conditions, SharedExpertsBufferAndAreHalvedAtEqualDose) {
  ControlOptions made = small_control("X5");
  made.family = "qwen2_moe";
  Measured run(made);
  const Conditions found = run.measure(kPlanted);
  const BufferingRow& row = found.buffering[1];
  ASSERT_TRUE(row.buffering) << row.reason;
  EXPECT_GT(*row.buffering, 0);
  EXPECT_LE(*row.buffering, 1 + 1e-6);
  ASSERT_TRUE(row.shared_share);
  if (found.shared_scale) {
    EXPECT_NEAR(found.shared_scale->halved_dose_nats / found.shared_scale->dose_nats, 1, 0.05);
  } else {
    EXPECT_FALSE(found.shared_scale_reason.empty());
  }
}

TEST(Conditions, WithoutASearchOrAGroupTheReasonIsSaid) {
  Measured run(small_control("X1"));
  run.search = SearchResult();
  const OrderedJson json = conditions_json(run.measure({}));
  for (const char* name : {"buffering", "shared_scale", "breadth"}) {
    EXPECT_TRUE(json.at(name).is_null());
    EXPECT_FALSE(json.at(std::string(name) + "_reason").get<std::string>().empty()) << name;
  }
}

}  // namespace
}  // namespace fare
