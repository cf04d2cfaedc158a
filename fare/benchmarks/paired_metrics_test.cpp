#include "fare/benchmarks/paired_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/stats/comparison.h"
#include "fare/stats/distributions.h"

namespace fare {
namespace {

// A task of `n` documents in clusters of two; values of metric "acc" per document in each run, and a pooled metric: the
// percentage of the documents' first log-likelihoods that lie above 0.
struct Runs {
  Task task;
  std::vector<Document> documents;
  std::vector<SampleMetrics> before, after;
  std::vector<std::vector<RequestResult>> first, second;

  explicit Runs(size_t clusters, const std::string& metric = "fare_acc") {
    task.info.name = "t";
    task.info.metrics = {{metric, Profile::kFair, true, ""}, {"fare_share", Profile::kFair, true, "", "none", true}};
    task.pooled = PooledMetrics{[](const Document&, std::span<const RequestResult> results) {
                                  return std::vector<double>{results[0].logprob_nats > 0 ? 1.0 : 0.0, 1.0};
                                },
                                nullptr,
                                [](std::span<const double> totals) -> std::vector<MetricValue> {
                                  if (totals[1] == 0) return {{"fare_share", std::nullopt, "nothing"}};
                                  return {{"fare_share", 100 * totals[0] / totals[1], ""}};
                                }};
    for (size_t d = 0; d < 2 * clusters; ++d) {
      Document document;
      document.doc_id = static_cast<int64_t>(d);
      document.cluster = std::to_string(d / 2);
      documents.push_back(document);
    }
  }
  void add(double base, double value) {
    before.push_back({{task.info.metrics[0].name, base, ""}});
    after.push_back({{task.info.metrics[0].name, value, ""}});
    RequestResult result;
    result.logprob_nats = base - 0.25;
    first.push_back({result});
    result.logprob_nats = value - 0.25;
    second.push_back({result});
  }
  PairedTask paired() const { return {&task, &task.info, documents, {before, first, first}, {after, second, second}}; }
};

TEST(PairedMetrics, AMeanIsThePairedComparisonOfItsValues) {
  Runs runs(60);
  std::vector<double> d;
  std::vector<std::string> clusters;
  for (size_t i = 0; i < 120; ++i) {
    const double base = i % 3 == 0, value = i % 2 == 0;
    runs.add(base, value);
    d.push_back(value - base);
    clusters.push_back(runs.documents[i].cluster);
  }
  auto entries = compare_runs(runs.paired(), {.seed = 5});
  ASSERT_EQ(entries.size(), 2u);
  const OrderedJson& mean = entries[0];
  EXPECT_DOUBLE_EQ(mean.at("baseline").get<double>(), 40.0 / 120);
  EXPECT_DOUBLE_EQ(mean.at("value").get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(mean.at("estimate").get<double>(), 20.0 / 120);
  stats::ComparisonOptions options;
  options.seed = 5;
  options.metric = "t/fare_acc/none";
  options.interval = stats::IntervalKind::kBca;
  const auto want = *stats::compare_paired(d, stats::cluster_by_name(clusters), options);
  EXPECT_EQ(mean.at("p"), want.test.p);
  EXPECT_EQ(mean.at("ci"), OrderedJson::array({want.interval(0.95)->low, want.interval(0.95)->high}));
  EXPECT_EQ(mean.at("method"), "cluster bootstrap, BCa");
  EXPECT_EQ(mean.at("discordant"), (OrderedJson{{"increased", 40}, {"decreased", 20}}));
  EXPECT_EQ(mean.at("clusters"), 60);
  EXPECT_DOUBLE_EQ(mean.at("mde").get<double>(), *want.mde);
  const auto narrow = *want.interval(0.90);
  EXPECT_EQ(mean.at("equivalence").at("margin"), std::max(std::abs(narrow.low), std::abs(narrow.high)));
  // The pooled metric is 100 times the same mean: the same p within its draws, the same interval within its replicates.
  const OrderedJson& pooled = entries[1];
  EXPECT_DOUBLE_EQ(pooled.at("estimate").get<double>(), 100 * 20.0 / 120);
  EXPECT_NEAR(pooled.at("p").get<double>(), mean.at("p").get<double>(), 0.02);
  EXPECT_NEAR(pooled.at("ci")[0].get<double>(), 100 * mean.at("ci")[0].get<double>(), 1.5);
  EXPECT_NEAR(pooled.at("ci")[1].get<double>(), 100 * mean.at("ci")[1].get<double>(), 1.5);
  EXPECT_FALSE(pooled.contains("pooled"));

  adjust_family(entries);
  const double p0 = entries[0].at("p"), p1 = entries[1].at("p");
  EXPECT_NEAR(entries[0].at("p_adjusted").get<double>(), p0 <= p1 ? std::min(2 * p0, p1) : p0,
              1e-12);  // Benjamini-Hochberg of two
  EXPECT_NE(entries[0].at("family").get<std::string>().find("2 metrics"), std::string::npos);
}

TEST(PairedMetrics, FewClustersGetTAndTheJackknife) {
  Runs runs(12);
  std::vector<double> d;
  for (size_t i = 0; i < 24; ++i) {
    const double base = 0.1 * static_cast<double>(i % 5), value = base + 0.05 * static_cast<double>(i % 7) - 0.1;
    runs.add(base, value);
    d.push_back(value - base);
  }
  const auto entries = compare_runs(runs.paired(), {});
  std::vector<std::string> names;
  for (const Document& document : runs.documents) names.push_back(document.cluster);
  const auto error = *stats::clustered_error(d, stats::cluster_by_name(names));
  EXPECT_EQ(entries[0].at("method"), "t over 12 clusters");
  EXPECT_NEAR(entries[0].at("ci")[1].get<double>(), error.mean + stats::student_t_quantile(0.975, 11) * error.se_cr1,
              1e-12);
  // Of a mean over clusters of equal size the jackknife error is the clustered one.
  const double share = entries[1].at("estimate");
  std::vector<double> indicator;
  for (size_t i = 0; i < 24; ++i)
    indicator.push_back(100.0 * ((runs.second[i][0].logprob_nats > 0) - (runs.first[i][0].logprob_nats > 0)));
  if (entries[1].at("ci").is_null()) {
    EXPECT_NE(entries[1].at("ci_reason").get<std::string>().find("clusters changed"), std::string::npos);
  } else {
    const auto pooled = *stats::clustered_error(indicator, stats::cluster_by_name(names));
    EXPECT_NEAR(entries[1].at("ci")[1].get<double>(), share + stats::student_t_quantile(0.975, 11) * pooled.se_cr1,
                1e-9);
  }
}

TEST(PairedMetrics, NothingChangedIsNoIntervalOfZero) {
  Runs runs(30);
  for (size_t i = 0; i < 60; ++i) runs.add(i % 2, i % 2);
  const auto entries = compare_runs(runs.paired(), {});
  EXPECT_EQ(entries[0].at("estimate"), 0);
  EXPECT_EQ(entries[0].at("p"), 1);
  EXPECT_GT(entries[0].at("ci")[1], 0.05);  // exact bounds of 0 in 30 clusters
  EXPECT_GT(entries[0].at("mde"), 0.05);
  EXPECT_TRUE(entries[1].at("ci").is_null());
  EXPECT_NE(entries[1].at("ci_reason").get<std::string>().find("0 of 30"), std::string::npos);
  Runs unbounded(30);
  for (size_t i = 0; i < 60; ++i) unbounded.add(-3.5 * static_cast<double>(i), -3.5 * static_cast<double>(i));
  const auto none = compare_runs(unbounded.paired(), {});
  EXPECT_TRUE(none[0].at("ci").is_null());
  EXPECT_TRUE(none[0].at("mde").is_null());
  EXPECT_TRUE(none[0].contains("ci_reason"));
}

TEST(PairedMetrics, UndefinedValuesAreLeftOutInBothRuns) {
  Runs runs(10);
  for (size_t i = 0; i < 20; ++i) runs.add(0, 1);
  runs.before[0][0].value.reset();
  runs.after[1][0].value = std::nan("");
  EXPECT_EQ(compare_runs(runs.paired(), {})[0].at("n"), 18);
  for (auto& sample : runs.before) sample[0].value.reset();
  const auto entries = compare_runs(runs.paired(), {});
  EXPECT_TRUE(entries[0].at("estimate").is_null());
  EXPECT_FALSE(entries[0].at("estimate_reason").get<std::string>().empty());
}

// From ten tasks on a group's clusters are its tasks; documents of different tasks never share one.
TEST(PairedMetrics, AGroupIsTheMeanOverAllDocuments) {
  std::vector<Runs> tasks(12, Runs(3));
  std::vector<PairedTask> paired;
  for (size_t t = 0; t < tasks.size(); ++t) {
    tasks[t].task.info.name = "task" + std::to_string(t);
    for (size_t i = 0; i < 6; ++i) tasks[t].add(i % 2, t % 3 == 0 ? 1 : static_cast<double>(i % 2));
    paired.push_back(tasks[t].paired());
    paired.back().task = &tasks[t].task;
    paired.back().info = &tasks[t].task.info;
  }
  const auto all = compare_group("g", "fare_acc", paired, {});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->at("task"), "g");
  EXPECT_EQ(all->at("n"), 72);
  EXPECT_EQ(all->at("clusters"), 12);
  EXPECT_NEAR(all->at("estimate").get<double>(), 12.0 / 72, 1e-12);
  EXPECT_EQ(compare_group("g", "fare_acc", std::span(paired).first(4), {})->at("clusters"),
            12);  // four tasks of three clusters
  EXPECT_FALSE(compare_group("g", "other", paired, {}));
}

}  // namespace
}  // namespace fare
