#include "fare/report/run_folder.h"
#include "fare/core/test_folder.h"

#include <gtest/gtest.h>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/source_folder.h"

namespace fare {
namespace {

namespace fs = std::filesystem;

class RunFolder : public testing::Test {
 protected:
  static OrderedJson example() {
    return OrderedJson::parse(read_file(source_folder() / "tests/golden/report/example_report.json"));
  }

  const TestFolder test_folder_;
  const fs::path folder_ = test_folder_.path();
};

TEST_F(RunFolder, WhatIsWrittenReadsBackWithItsOrderAndIsDrawnAgainTheSame) {
  write_report(folder_, example());
  const std::string page = read_file(folder_ / "report.html"), json = read_file(folder_ / "report.json");
  const OrderedJson again = read_report(folder_);
  EXPECT_EQ(again.dump(), example().dump());
  write_report(folder_, again);
  EXPECT_EQ(read_file(folder_ / "report.html"), page);
  EXPECT_EQ(read_file(folder_ / "report.json"), json);
}

TEST_F(RunFolder, TablesOfPartsThatAreGoneAreRemovedOtherFilesStay) {
  write_report(folder_, example());
  ASSERT_TRUE(fs::exists(folder_ / "tables/masking.csv"));
  write_file(folder_ / "tables/notes.txt", "mine");
  OrderedJson report = example();
  report["masking"] = nullptr;
  report["masking_reason"] = "not run";
  write_report(folder_, report);
  EXPECT_FALSE(fs::exists(folder_ / "tables/masking.csv"));
  EXPECT_TRUE(fs::exists(folder_ / "tables/experts.csv"));
  EXPECT_TRUE(fs::exists(folder_ / "tables/notes.txt"));
}

TEST_F(RunFolder, AReportThatCannotBeDrawnWritesNothing) {
  OrderedJson report = example();
  report.erase("headline");
  EXPECT_THROW(write_report(folder_, report), FormatError);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(RunFolder, AMissingOrBrokenReportIsNamed) {
  EXPECT_THROW(read_report(folder_), IoError);
  write_file(folder_ / "report.json", "{\"format\": 1, \"format\": 2}");
  try {
    read_report(folder_);
    FAIL() << "a duplicate key was read";
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("report.json"), std::string::npos) << error.what();
  }
}

TEST_F(RunFolder, AFolderThatIsNotThereIsAnError) {
  write_file(folder_ / "file", "");
  EXPECT_THROW(write_report(folder_ / "file", example()), IoError);
}

}  // namespace
}  // namespace fare
