#include "fare/diagnosis/run_comparison.h"

#include <gtest/gtest.h>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

OrderedJson example() {
  return OrderedJson::parse(read_file(source_folder() / "tests/golden/report/example_report.json"));
}

// The example with the p of its two candidates set, and stage 3 answered yes.
ComparedRun run_with(const std::string& name, double first, double second) {
  ComparedRun run{name, example()};
  run.report["model"]["name"] = name;
  size_t next = 0;
  for (OrderedJson& effect : run.report["effects"])
    if (effect["measure"] == "shift" && effect["split"] == "test" && effect["subset"] == "all" &&
        effect["scoring"] == "sum")
      effect["p"] = next++ == 0 ? first : second;
  EXPECT_EQ(next, 2u);
  for (OrderedJson& stage : run.report["stages"])
    if (stage["stage"] == 3) stage["answer"] = "yes";
  return run;
}

TEST(RunComparison, PValuesAreCorrectedOverAllCandidatesOfAllRuns) {
  // Sorted 0.01, 0.02, 0.03, 0.5 of a family of four: 0.04, 0.04, 0.04, 0.5.
  const OrderedJson json = compare_runs({run_with("a", 0.01, 0.5), run_with("b", 0.03, 0.02)});
  EXPECT_EQ(json["family_size"], 4);
  ASSERT_EQ(json["candidates"].size(), 4u);
  const double expected[] = {0.04, 0.5, 0.04, 0.04};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(json["candidates"][i]["p_bh_all"].get<double>(), expected[i], 1e-12) << i;
  ASSERT_EQ(json["models"].size(), 2u);
  EXPECT_EQ(json["models"][1]["model"], "b");
  EXPECT_EQ(json["models"][0]["code_over_all"], json["models"][0]["code"]);
  EXPECT_EQ(json["models"][0]["stage_3"], "yes");
  EXPECT_TRUE(json["notes"].empty());
}

TEST(RunComparison, AVerdictThatRestsOnAPThatTheLargerFamilyTakesAwayIsNamed) {
  const OrderedJson json = compare_runs({run_with("a", 0.04, 0.9), run_with("b", 0.9, 0.95)});
  EXPECT_GT(json["models"][0]["p_bh_all"].get<double>(), 0.05);
  EXPECT_EQ(json["models"][0]["code_over_all"], "non_robust");
}

TEST(RunComparison, RunsOfOtherMarginsOrDataAreComparedWithANote) {
  ComparedRun other = run_with("b", 0.01, 0.02);
  other.report["profile"] = "full";
  other.report["data"]["limit"] = 10;
  const OrderedJson json = compare_runs({run_with("a", 0.01, 0.02), other});
  ASSERT_EQ(json["notes"].size(), 2u);
  EXPECT_NE(json["notes"][0].get<std::string>().find("profile"), std::string::npos);
}

TEST(RunComparison, WhatCannotBeComparedIsRefused) {
  EXPECT_THROW(compare_runs({run_with("a", 0.1, 0.2)}), UsageError);
  EXPECT_THROW(compare_runs({run_with("a", 0.1, 0.2), run_with("a", 0.3, 0.2)}), UsageError);
  ComparedRun same = run_with("a", 0.1, 0.2);
  same.name = "b";
  EXPECT_THROW(compare_runs({run_with("a", 0.1, 0.2), same}), UsageError);
  ComparedRun broken = run_with("b", 0.1, 0.2);
  broken.report.erase("splits");
  try {
    compare_runs({run_with("a", 0.1, 0.2), broken});
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("splits"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace fare
