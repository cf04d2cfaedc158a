#include "fare/diagnosis/subject.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

namespace fs = std::filesystem;

struct Opening : testing::Test {
  fs::path parent = fs::path(testing::TempDir()) /
                    (std::string("opening_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  DiagnosisOptions options;
  Study study;

  void SetUp() override {
    fs::remove_all(parent);
    EncodedPair pair;
    pair.item = "one";
    study.pairs.push_back(pair);
    study.pair_splits.part = {SplitPart::kTest};
  }
  void TearDown() override { fs::remove_all(parent); }

  std::vector<std::string> open(const std::string& run, const std::string& model = "sha256:m") {
    fs::create_directories(parent / run);
    const std::string text = thresholds_text(options, study, model, {}, OrderedJson::array());
    const auto notes = settle_opening(parent / run, text);
    write_file(parent / run / "report.json", "{\"sha256\": \"sha256:" + sha256_hex(text) + "\"}");
    return notes;
  }
};

TEST_F(Opening, TheFirstIsWrittenAndTheSameAgainOpensNothingNew) {
  EXPECT_TRUE(open("a").empty());
  const std::string text = read_file(parent / "a/thresholds.json");
  EXPECT_TRUE(open("a").empty());
  EXPECT_EQ(read_file(parent / "a/thresholds.json"), text);
  EXPECT_TRUE(open("b").empty()) << "a repeat in another folder is no second look";
}

TEST_F(Opening, OtherThresholdsInTheSameFolderAreRefused) {
  open("a");
  set_margin(options.thresholds, "delta_B", 1.5);
  EXPECT_THROW(open("a"), ModelMismatch);
}

TEST_F(Opening, OtherMarginsBesideNeedANewSeedAndAreThenSaid) {
  open("a");
  set_margin(options.thresholds, "tau", 5);
  EXPECT_THROW(open("b"), ModelMismatch);
  EXPECT_FALSE(fs::exists(parent / "b/thresholds.json"));
  options.thresholds = {};
  options.interval = stats::IntervalKind::kBca;
  EXPECT_THROW(open("b"), ModelMismatch) << "another kind of interval is another rule";
  set_margin(options.thresholds, "tau", 5);
  EXPECT_TRUE(open("c", "sha256:other").empty()) << "another model is another matter";
  options.seed = 7;
  const auto notes = open("b");
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("run 'a'"), std::string::npos) << notes[0];
  EXPECT_NE(notes[0].find("other margins"), std::string::npos);
}

TEST_F(Opening, ARunWithoutAReportOrWithATouchedFileSaysNothing) {
  open("a");
  set_margin(options.thresholds, "tau", 5);
  fs::remove(parent / "a/report.json");
  EXPECT_TRUE(open("b").empty());
  write_file(parent / "b/thresholds.json", read_file(parent / "b/thresholds.json") + " ");
  set_margin(options.thresholds, "tau", 6);
  EXPECT_TRUE(open("c").empty());
}

TEST_F(Opening, AnotherProfileIsAllowedAndSaid) {
  open("a");
  options.profile = StudyProfile::kFull;
  ASSERT_EQ(open("b").size(), 1u);
  study.pairs[0].item = "two";  // other items
  EXPECT_TRUE(open("c").empty());
}

TEST(Margins, AreSetByTheNamesOfTheThresholdsFile) {
  Thresholds thresholds;
  for (const Margin& margin : margins()) {
    set_margin(thresholds, margin.name, 0.25);
    EXPECT_EQ(thresholds.*margin.value, 0.25);
  }
  EXPECT_THROW(set_margin(thresholds, "delta", 1), UsageError);
  EXPECT_THROW(set_margin(thresholds, "tau", 0), UsageError);
}

}  // namespace
}  // namespace fare
