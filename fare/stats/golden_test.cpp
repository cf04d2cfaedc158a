// Agreement with SciPy; values and the script that made them are in golden/.
#include <gtest/gtest.h>

#include <cmath>

#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/stats/clusters.h"
#include "fare/stats/distributions.h"
#include "fare/stats/divergence.h"
#include "fare/stats/multiplicity.h"
#include "fare/stats/permutation.h"
#include "fare/stats/proportions.h"
#include "fare/stats/ranks.h"
#include "fare/stats/search_effort.h"

namespace fare::stats {
namespace {

const Json& golden() {
  static const Json file = read_json_file(source_folder() / "fare/stats/golden/scipy.json");
  return file;
}

void expect_relative(double got, double want, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, want, tolerance * std::max(1e-300, std::abs(want))) << what;
}

std::vector<double> doubles(const Json& list) { return list.get<std::vector<double>>(); }

TEST(Golden, DistributionFunctions) {
  for (const auto& row : golden()["normal"]) {
    expect_relative(normal_cdf(row[0]), row[1], 1e-12, row.dump());
    expect_relative(normal_sf(row[0]), row[2], 1e-12, row.dump());
  }
  for (const auto& row : golden()["student_t"]) {
    expect_relative(student_t_sf(row[0], row[1]), row[2], 1e-11, row.dump());
    expect_relative(student_t_cdf(-row[0].get<double>(), row[1]), row[2], 1e-11, row.dump());
  }
  for (const auto& row : golden()["gamma_q"]) {
    expect_relative(regularized_gamma_q(row[0], row[1]), row[2], 1e-12, row.dump());
    EXPECT_NEAR(regularized_gamma_p(row[0], row[1]), 1 - row[2].get<double>(), 1e-14);
  }
}

TEST(Golden, BinomialTest) {
  for (const auto& row : golden()["binomial_test"]) {
    expect_relative(binomial_test(row[0], row[1], row[2])->exact_p, row[3], 1e-10, row.dump());
  }
}

TEST(Golden, ProportionIntervals) {
  for (const auto& row : golden()["intervals"]) {
    const auto got = row[0] == "wilson" ? *wilson_interval(row[1], row[2], row[3])
                                        : *clopper_pearson_interval(row[1], row[2], row[3]);
    EXPECT_NEAR(got.low, row[4].get<double>(), 1e-10) << row;
    EXPECT_NEAR(got.high, row[5].get<double>(), 1e-10) << row;
  }
}

TEST(Golden, RanksWithTies) {
  const auto& g = golden()["ranks"];
  const auto x = doubles(g["x"]), y = doubles(g["y"]), z = doubles(g["z"]);
  EXPECT_EQ(average_ranks(x), doubles(g["rank_x"]));
  EXPECT_NEAR(*spearman(x, y), g["spearman"].get<double>(), 1e-13);
  EXPECT_NEAR(*partial_spearman(x, y, {z}), g["partial"].get<double>(), 1e-12);
}

TEST(Golden, SignFlipInBothDirections) {
  const auto& g = golden()["sign_flip"];
  SignFlipOptions options;
  EXPECT_EQ(sign_flip(doubles(g["d"]), options)->p, g["two_sided"].get<double>());
  options.alternative = Alternative::kGreater;
  EXPECT_EQ(sign_flip(doubles(g["d"]), options)->p, g["greater"].get<double>());
  options.alternative = Alternative::kLess;
  EXPECT_EQ(sign_flip(doubles(g["d"]), options)->p, g["less"].get<double>());
}

TEST(Golden, AnovaOfUnequalClusters) {
  const auto groups = golden()["anova"]["groups"].get<std::vector<std::vector<double>>>();
  const auto got = *analyse_seeds(groups);
  expect_relative(got.anova.ms_between / *got.anova.ms_within, golden()["anova"]["f"], 1e-12, "F");
}

TEST(Golden, FalseDiscoveryRates) {
  const auto& g = golden()["multiplicity"];
  const auto values = doubles(g["p"]);
  const PValues p(values.begin(), values.end());
  for (size_t i = 0; i < p.size(); ++i) {
    EXPECT_NEAR(*benjamini_hochberg(p)[i], g["bh"][i].get<double>(), 1e-14);
    EXPECT_NEAR(*benjamini_yekutieli(p)[i], g["by"][i].get<double>(), 1e-14);
  }
}

TEST(Golden, JensenShannonDistance) {
  const auto& g = golden()["jensen_shannon"];
  EXPECT_NEAR(jensen_shannon_distance_bits(doubles(g["p"]), doubles(g["q"])), g["distance_bits"].get<double>(), 1e-13);
}

TEST(Golden, ExpectedBestEqualsTheMeanOverAllSubsets) {
  const auto& g = golden()["expected_best"];
  for (size_t b = 1; b <= g["best"].size(); ++b) {
    EXPECT_NEAR(*expected_best(doubles(g["values"]), static_cast<int64_t>(b)), g["best"][b - 1].get<double>(), 1e-13);
  }
}

}  // namespace
}  // namespace fare::stats
