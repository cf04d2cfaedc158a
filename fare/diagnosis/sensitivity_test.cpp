#include "fare/diagnosis/sensitivity.h"

#include <gtest/gtest.h>

#include "fare/core/file.h"
#include "fare/core/source_folder.h"
#include "fare/diagnosis/control_study_test.h"

namespace fare {
namespace {

Json golden() { return Json::parse(read_file(source_folder() / "tests/golden/sensitivity/cases.json")); }

TEST(RoutingDistance, EqualsTheReference) {
  for (const Json& one : golden().at("distances")) {
    TokenRoute sides[2];
    std::vector<float> logits[2], weights[2];
    std::vector<int32_t> ids[2];
    for (const size_t s : {0u, 1u}) {
      logits[s] = one.at("logits")[s].get<std::vector<float>>();
      weights[s] = one.at("weights")[s].get<std::vector<float>>();
      ids[s] = one.at("ids")[s].get<std::vector<int32_t>>();
      sides[s] = {logits[s].data(), ids[s].data(), weights[s].data(), static_cast<int64_t>(logits[s].size()),
                  static_cast<int64_t>(ids[s].size())};
    }
    const RoutingStatistics found = routing_statistics(sides[0], sides[1]);
    for (size_t i = 0; i < kNumRoutingStatistics; ++i) {
      const double expected = one.at(kRoutingStatisticNames[i]).get<double>();
      EXPECT_NEAR(found[i], expected, 1e-6 * (1 + std::abs(expected)))
          << kRoutingStatisticNames[i] << " of " << one.dump();
    }
    for (const double zero : routing_statistics(sides[0], sides[0])) EXPECT_EQ(zero, 0);
  }
}

std::vector<Observation> observations() {
  const Json data = golden().at("regression");
  std::vector<Observation> list;
  for (size_t i = 0; i < data.at("y").size(); ++i)
    list.push_back({data["y"][i],
                    {data["distance"][i], data["log_frequency"][i], data["length"][i]},
                    data["demographic"][i].get<double>() > 0,
                    "cluster " + std::to_string(i / 3)});
  return list;
}

TEST(AdjustedEffect, IsLeastSquares) {
  const AdjustedEffect effect = adjusted_effect(observations(), 3, DiagnosisOptions());
  const Json beta = golden().at("regression").at("beta");
  EXPECT_NEAR(*effect.distance, beta[1].get<double>(), 1e-9);
  EXPECT_NEAR(*effect.log_frequency, beta[2].get<double>(), 1e-9);
  EXPECT_NEAR(*effect.length, beta[3].get<double>(), 1e-9);
  EXPECT_NEAR(*effect.demographic, beta[4].get<double>(), 1e-9);
  ASSERT_TRUE(effect.demographic95);
  EXPECT_LT(effect.demographic95->low, *effect.demographic);
  EXPECT_GT(effect.demographic95->high, *effect.demographic);
  EXPECT_EQ(effect.clusters, 20);
}

TEST(AdjustedEffect, LeavesOutWhatIsConstantOrExplained) {
  std::vector<Observation> list = observations();
  for (Observation& one : list) one.traits.length = 2, one.traits.log_frequency = 3 * one.traits.distance;
  const AdjustedEffect effect = adjusted_effect(list, 0, DiagnosisOptions());
  EXPECT_TRUE(effect.distance);
  EXPECT_FALSE(effect.log_frequency);
  EXPECT_FALSE(effect.length);
  EXPECT_TRUE(effect.demographic);
  for (Observation& one : list) one.traits.distance = one.demographic ? 5 : 2;
  const AdjustedEffect confounded = adjusted_effect(list, 0, DiagnosisOptions());
  EXPECT_FALSE(confounded.demographic);
  EXPECT_NE(confounded.reason.find("tell demographic pairs and nulls apart"), std::string::npos);
  list.resize(4);
  EXPECT_FALSE(adjusted_effect(list, 0, DiagnosisOptions()).demographic);
}

TEST(Sensitivity, GivesEveryStatisticOnEverySpan) {
  ControlStudy control(small_control("X1"));
  DiagnosisOptions options;
  options.permutations = options.bootstrap_replicates = 200;
  const Sensitivity found = measure_sensitivity(*control.measurer, options);
  EXPECT_LE(found.causal_zero_max, 1e-9);
  int seen = 0;
  for (const StatisticsRow& row : found.statistics) {
    if (row.axis != "all") continue;
    ++seen;
    EXPECT_GT(row.n, 0);
    for (const double mean : row.mean) {
      if (row.span == "Q") {
        EXPECT_EQ(mean, 0);
      }
      EXPECT_GE(mean, 0);
    }
    if (row.layer == 1 && row.span == "P" && row.kind == "demographic") {
      EXPECT_GT(row.mean[kSetDistance], 0);
    }
  }
  EXPECT_EQ(seen, 2 * 3 * 3);  // layers, spans, kinds: demographic, N1, N2
  for (const SensitivityRow& row : found.rows) EXPECT_NE(row.span, "Q");
  // 14 is picked after words of side A, which stand in the stereotype sentences more often.
  const auto gap_of = [&](int32_t expert) {
    for (const ExpertGap& gap : found.expert_gaps)
      if (gap.layer == 1 && gap.expert == expert && gap.span == "P") return gap;
    return ExpertGap();
  };
  EXPECT_GT(gap_of(14).selection, 0.1);
  EXPECT_LT(gap_of(15).selection, -0.1);
  EXPECT_GT(gap_of(14).score, 0.05);
  EXPECT_EQ(found.adjusted.size(), 2u);
}

}  // namespace
}  // namespace fare
