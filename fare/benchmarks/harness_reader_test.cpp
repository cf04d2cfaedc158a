#include "fare/benchmarks/harness_reader.h"

#include <cmath>

#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

using testing::scratch;

ReadResults read(const std::string& text) {
  write_file(scratch("results.json"), text);
  return read_harness_results(scratch("results.json"));
}

TEST(HarnessReader, ReadsBackWhatIsWritten) {
  const TaskResults tasks[] = {{"t",
                                "t",
                                1,
                                0,
                                3,
                                3,
                                {{"acc", 0.1, 0.30000000000000004, 3, ""},
                                 {"fare_acc", std::nullopt, std::nullopt, 0, "why"},
                                 {"nan", std::nan(""), std::nan(""), 3, ""}},
                                {},
                                OrderedJson::object()}};
  RunDescription run;
  run.model_name = "m";
  const std::string text = results_text(results_object(run, tasks, {}, nullptr));
  const ReadResults results = read(text);
  EXPECT_EQ(results.model_name, "m");
  ASSERT_EQ(results.metrics.size(), 3u);
  EXPECT_EQ(results.metrics[0].metric, "acc");
  EXPECT_EQ(results.metrics[0].filter, "none");
  EXPECT_EQ(*results.metrics[0].value, 0.1);
  EXPECT_EQ(*results.metrics[0].stderr_value, 0.30000000000000004);
  EXPECT_FALSE(results.metrics[1].value);
  EXPECT_FALSE(results.metrics[1].stderr_value);
  EXPECT_TRUE(std::isnan(*results.metrics[2].value));
  EXPECT_EQ(results_text(results.all), text);
}

TEST(HarnessReader, ReadsOldFilesAndSeveralFilters) {
  const ReadResults old =
      read(R"({"results":{"piqa":{"acc":0.5,"acc_stderr":0.01}},"versions":{"piqa":0},"start_time":1.5})");
  ASSERT_EQ(old.metrics.size(), 1u);
  EXPECT_EQ(old.metrics[0].filter, "none");
  EXPECT_EQ(*old.metrics[0].stderr_value, 0.01);
  const ReadResults filters = read(
      R"({"results":{"gsm8k":{"alias":"gsm8k","exact_match,strict-match":0.5,"exact_match_stderr,strict-match":"N/A","exact_match,flexible-extract":1}}})");
  ASSERT_EQ(filters.metrics.size(), 2u);
  EXPECT_EQ(filters.metrics[0].filter, "strict-match");
  EXPECT_FALSE(filters.metrics[0].stderr_value);
  EXPECT_EQ(*filters.metrics[1].value, 1.0);
}

TEST(HarnessReader, SkipsTheBlankEntryOfAGroupWithoutNumbers) {
  const ReadResults read_back = read(R"({"results":{"arc":{" ":" ","alias":"arc"},"arc_easy":{"acc,none":0.5}}})");
  ASSERT_EQ(read_back.metrics.size(), 1u);
  EXPECT_EQ(read_back.metrics[0].task, "arc_easy");
}

TEST(HarnessReader, RefusesOtherFiles) {
  EXPECT_NE(message_of<FormatError>([] { read("[]"); }).find("'results' is missing"), std::string::npos);
  EXPECT_NE(message_of<FormatError>([] { read(R"({"results":{"t":3}})"); }).find("results.t: expected an object"),
            std::string::npos);
  EXPECT_NE(message_of<FormatError>([] {
              read(R"({"results":{"t":{"acc,none":"x"}}})");
            }).find("'acc,none' is neither a number"),
            std::string::npos);
}

}  // namespace
}  // namespace fare
