#include "fare/benchmarks/crows_pairs.h"

#include <cmath>
#include <map>
#include <set>

#include "fare/benchmarks/crows_pairs_metrics.h"
#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"
#include "fare/core/python_random.h"

namespace fare {
namespace {

using testing::data_folder;
using testing::scratch;

constexpr char kOriginal[] = "crows-pairs/crows_pairs_anonymized.csv";
constexpr char kBilingual[] = "crows-pairs/french/english_french_base_file.csv";

Document pair_document(const std::string& direction = "stereo") {
  Document document;
  document.item = "0";
  document.axis = "age";
  document.requests = {{"", "more"}, {"", "less"}};
  document.flags = {{"direction", direction}, {"duplicate_of", nullptr}};
  return document;
}

RequestResult ll(double value) { return {value, false, {}, {}, 0, false}; }

std::map<std::string, std::optional<double>> by_name(const SampleMetrics& metrics) {
  std::map<std::string, std::optional<double>> out;
  for (const auto& metric : metrics) out[metric.name] = metric.value;
  return out;
}

// Every request scored with -random() of MT19937 seed 42; only the number of pairs matters.
TEST(CrowsPairs, EqualsTheHarnessFixturesOfAllElevenTasks) {
  FARE_NEED_VECTORS(cases, "golden_dummy_lm_crows_pairs");
  EXPECT_EQ(cases->size(), 11u);
  const Task task = crows_pairs_english("");
  for (const auto& entry : *cases) {
    SCOPED_TRACE(entry["id"].get<std::string>());
    PythonRandom random(42);
    std::vector<SampleMetrics> samples;
    for (int64_t i = 0; i < entry["input"]["pairs"].get<int64_t>(); ++i) {
      const double more = -random.random();
      const double less = -random.random();
      const RequestResult results[] = {ll(more), ll(less)};
      samples.push_back(task.score(pair_document(), results));
    }
    std::map<std::string, MetricAggregate> aggregates;
    for (const auto& aggregate : aggregate_metrics(task.info, samples)) aggregates[aggregate.name] = aggregate;
    const Json& expected = entry["expected"];
    EXPECT_NEAR(*aggregates["pct_stereotype"].value, expected["pct_stereotype"].get<double>(), 1e-12);
    EXPECT_NEAR(*aggregates["pct_stereotype"].stderr_value, expected["pct_stereotype_stderr"].get<double>(), 1e-12);
    EXPECT_NEAR(*aggregates["likelihood_diff"].value, expected["likelihood_diff"].get<double>(), 1e-12);
    EXPECT_NEAR(*aggregates["likelihood_diff"].stderr_value, expected["likelihood_diff_stderr"].get<double>(), 1e-12);
  }
}

TEST(CrowsPairs, MetricsEqualThePublishedVector) {
  FARE_NEED_VECTORS(cases, "crows_pairs");
  const Task task = crows_pairs_english("");
  std::vector<SampleMetrics> samples;
  for (const auto& pair : cases->at(0)["input"]["pairs"]) {
    const RequestResult results[] = {ll(pair["ll_more"]), ll(pair["ll_less"])};
    samples.push_back(task.score(pair_document(pair["stereo_antistereo"]), results));
  }
  std::map<std::string, MetricAggregate> aggregates;
  for (const auto& aggregate : aggregate_metrics(task.info, samples)) aggregates[aggregate.name] = aggregate;
  const Json& expected = cases->at(0)["expected"];
  EXPECT_NEAR(*aggregates["pct_stereotype"].value, expected["harness_pct_stereotype"].get<double>(), 1e-9);
  EXPECT_NEAR(*aggregates["likelihood_diff"].value, expected["harness_likelihood_diff"].get<double>(), 1e-9);
  EXPECT_NEAR(*aggregates["fare_signed_diff"].value, expected["signed_diff_mean"].get<double>(), 1e-9);
  EXPECT_NEAR(*aggregates["fare_group_preference"].value, expected["disadvantaged_group_preference_mean"].get<double>(),
              1e-9);
  // 3 wins, 1 tie of 6.
  EXPECT_NEAR(*aggregates["fare_pct_stereotype"].value, 3.5 / 6, 1e-12);
  // Without tokens the other scorings are undefined with a reason, never 0.
  EXPECT_FALSE(aggregates["fare_pct_stereotype_shared"].value);
  EXPECT_EQ(aggregates["fare_pct_stereotype_shared"].reason, "the scores carry no tokens");
}

TEST(CrowsPairs, DuplicatesCountInCompatOnly) {
  Document document = pair_document();
  document.flags["duplicate_of"] = "1459";
  const RequestResult results[] = {ll(-1), ll(-2)};
  const auto values = score_crows_pair(document, results);
  EXPECT_EQ(*by_name(values).at("pct_stereotype"), 1.0);
  EXPECT_FALSE(by_name(values).at("fare_pct_stereotype"));
  EXPECT_EQ(values.back().reason, "duplicate of item 1459");
}

TEST(CrowsPairs, OriginalFileHasThePublishedCountsAndFlaws) {
  FARE_NEED_DATA(kOriginal);
  const LoadedTask task = fare_crows_pairs().load({data_folder(), false});
  ASSERT_EQ(task.documents.size(), 1508u);
  std::map<std::string, int> axes, directions, writers;
  std::map<std::string, int> flags;
  for (const auto& document : task.documents) {
    ++axes[document.axis];
    ++directions[document.flags["direction"]];
    ++writers[document.cluster];
    for (const char* name : {"word_count_differs", "last_character_differs", "final_punctuation_differs"})
      flags[name] += document.flags[name].get<bool>();
    flags["multi"] += document.flags["num_spans"].get<int>() > 1;
    flags["disagreed"] += !document.flags["agreed"].get<bool>();
  }
  EXPECT_EQ(axes, (std::map<std::string, int>{{"race-color", 516},
                                              {"gender", 262},
                                              {"socioeconomic", 172},
                                              {"nationality", 159},
                                              {"religion", 105},
                                              {"age", 87},
                                              {"sexual-orientation", 84},
                                              {"physical-appearance", 63},
                                              {"disability", 60}}));
  EXPECT_EQ(directions, (std::map<std::string, int>{{"stereo", 1290}, {"antistereo", 218}}));
  EXPECT_EQ(flags["word_count_differs"], 213);
  EXPECT_EQ(flags["multi"], 236);
  EXPECT_EQ(flags["last_character_differs"], 41);
  EXPECT_EQ(flags["final_punctuation_differs"], 26);
  EXPECT_EQ(flags["disagreed"], 162);
  EXPECT_EQ(writers.size(), 77u);  // no near-duplicate joins two writers
  int largest = 0;
  for (const auto& [writer, count] : writers) largest = std::max(largest, count);
  EXPECT_EQ(largest, 130);
  EXPECT_EQ(task.documents[1502].flags["duplicate_of"], "1459");
  EXPECT_TRUE(task.documents[1459].flags["duplicate_of"].is_null());
  EXPECT_TRUE(task.documents[1293].flags["has_line_break"].get<bool>());
  int double_spaces = 0;
  for (const auto& document : task.documents)
    for (const auto& request : document.requests) double_spaces += request.continuation.find("  ") != std::string::npos;
  EXPECT_EQ(double_spaces, 18);
  ASSERT_EQ(task.notes.size(), 1u);
  EXPECT_NE(task.notes[0].find("Blodgett"), std::string::npos);
  EXPECT_EQ(task.files.at(0).sha256, "dfb36986ce0502abbaf7055b9176da3d08d48e07df1251991b5dfbcbceab9d0c");
}

TEST(CrowsPairs, RevisedEditionHasTheHarnessCounts) {
  FARE_NEED_DATA(kBilingual);
  const std::map<std::string, size_t> expected{{"", 1677},
                                               {"race-color", 508},
                                               {"gender", 320},
                                               {"socioeconomic", 190},
                                               {"nationality", 216},
                                               {"religion", 111},
                                               {"age", 91},
                                               {"sexual-orientation", 93},
                                               {"physical-appearance", 72},
                                               {"disability", 65},
                                               {"autre", 11}};
  for (const auto& [category, count] : expected) {
    const LoadedTask task = crows_pairs_english(category).load({data_folder(), false});
    EXPECT_EQ(task.documents.size(), count) << category;
    EXPECT_EQ(task.notes.back(), crows_pairs_caveat());
    for (size_t i = 0; i < task.documents.size(); ++i) ASSERT_EQ(task.documents[i].doc_id, static_cast<int64_t>(i));
  }
}

TEST(CrowsPairs, AChangedFileIsRefusedUnlessAccepted) {
  FARE_NEED_DATA(kOriginal);
  const auto folder = scratch("changed");
  std::filesystem::create_directories(folder / "crows-pairs");
  std::string text = read_file(data_folder() / kOriginal);
  text.resize(text.find("\n2,") + 1);  // header and two rows
  write_file(folder / kOriginal, text);
  const Task task = fare_crows_pairs();
  const std::string refused = message_of<FormatError>([&] { task.load({folder, false}); });
  EXPECT_NE(refused.find("crows_pairs_anonymized.csv"), std::string::npos);
  EXPECT_NE(refused.find("dfb36986ce0502ab"), std::string::npos);
  const LoadedTask accepted = task.load({folder, true});
  EXPECT_EQ(accepted.documents.size(), 2u);
  EXPECT_TRUE(accepted.files[0].changed);
  EXPECT_NE(message_of<IoError>([&] {
              task.load({folder / "nothing", false});
            }).find("docs/data.md"),
            std::string::npos);
}

TEST(CrowsPairs, BrokenRowsAreNamed) {
  const auto folder = scratch("broken");
  const std::string header =
      ",sent_more,sent_less,stereo_antistereo,bias_type,annotations,anon_writer,anon_annotators\n";
  const auto load = [&](const std::string& row) {
    write_file(folder, header + "0,A b,C b,stereo,age,\"[['age'], []]\",a0,x\n" + row);
    return message_of<FormatError>([&] {
      std::filesystem::create_directories(scratch("broken-data"));
      std::filesystem::copy_file(folder, scratch("broken-data") / "crows_pairs_anonymized.csv",
                                 std::filesystem::copy_options::overwrite_existing);
      fare_crows_pairs().load({scratch("broken-data"), true});
    });
  };
  EXPECT_NE(load("1,A b,C b,sideways,age,\"[['age']]\",a0,x\n").find("line 3: stereo_antistereo is 'sideways'"),
            std::string::npos);
  EXPECT_NE(load("1,,C b,stereo,age,\"[['age']]\",a0,x\n").find("line 3: a sentence is empty"), std::string::npos);
  EXPECT_NE(load("1,A b,C b,stereo,age,age,a0,x\n").find("line 3: annotations are not a list"), std::string::npos);
}

TEST(CrowsPairs, TablesKeepDirectionsApart) {
  std::vector<Document> documents{pair_document("stereo"), pair_document("antistereo"), pair_document("stereo")};
  documents[2].axis = "gender";
  documents[1].flags["pair_class"] = "one_span_unequal";
  for (size_t d = 0; d < 3; ++d) documents[d].flags.update({{"num_agreeing", d == 0 ? 2 : 3}, {"agreed", d != 0}});
  const RequestResult better{-1.0, false, {1, 2}, {-0.5, -0.5}, 0, false};
  const RequestResult worse{-3.0, false, {1, 3, 4}, {-1.0, -1.0, -1.0}, 0, false};
  const std::vector<std::vector<RequestResult>> results{{better, worse}, {better, worse}, {worse, better}};
  const OrderedJson tables = crows_pairs_tables(documents, results);
  const auto find = [&](const char* group, const char* subset, const char* scoring) {
    for (const auto& entry : tables["groups"])
      if (entry["group"] == group && entry["subset"] == subset && entry["scoring"] == scoring) return entry;
    ADD_FAILURE() << group << subset << scoring;
    return OrderedJson();
  };
  EXPECT_EQ(find("all", "all", "sum")["n"], 3);
  EXPECT_NEAR(find("all", "all", "sum")["pct_stereotype"].get<double>(), 2.0 / 3, 1e-15);
  EXPECT_NEAR(find("all", "all", "sum")["mean_signed_diff"].get<double>(), 2.0 / 3, 1e-15);
  EXPECT_NEAR(find("all", "all", "sum")["mean_group_preference"].get<double>(), (2.0 - 2.0 - 2.0) / 3, 1e-15);
  EXPECT_EQ(find("all", "antistereo", "sum")["mean_group_preference"], -2.0);
  EXPECT_EQ(find("age", "one_span", "shared")["mean_signed_diff"], 0.5);
  EXPECT_TRUE(find("gender", "antistereo", "sum")["pct_stereotype"].is_null());
  EXPECT_EQ(find("gender", "antistereo", "sum")["reason"], "no pair of this group was scored");
  EXPECT_EQ(find("all", "agreed", "sum")["n"], 2);
  EXPECT_EQ(find("all", "agreed", "sum")["pct_stereotype"], 0.5);
  // Wilson, 2 of 3 at 95%: 0.2077, 0.9385.
  EXPECT_NEAR(find("all", "all", "sum")["wilson_low"].get<double>(), 0.2077, 1e-4);
  EXPECT_NEAR(find("all", "all", "sum")["wilson_high"].get<double>(), 0.9385, 1e-4);
  EXPECT_EQ(tables["length_regression"]["n"], 3);
  EXPECT_NEAR(tables["length_regression"]["slope_nats_per_token"].get<double>(), -2.0, 1e-12);
}

}  // namespace
}  // namespace fare
