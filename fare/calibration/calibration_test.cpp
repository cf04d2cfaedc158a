// Marks, the file of a calibration and what a report shows of it; cells are run small.
#include "fare/calibration/calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/calibration/temporary_folder.h"
#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

OrderedJson without_seconds(OrderedJson json) {
  if (json.is_object()) json.erase("seconds");
  for (OrderedJson& inner : json)
    if (inner.is_structured()) inner = without_seconds(inner);
  return json;
}

TEST(Mark, KeepsTheCellNearestToALimitAndLooksAtEveryCell) {
  Mark mark{"coverage", 0.93, 0.97};
  mark.see(0.95, "middle");
  mark.see(0.965, "high");
  EXPECT_EQ(mark.where, "high");
  EXPECT_TRUE(mark.passed);
  mark.see(0.92, "outside");
  EXPECT_EQ(mark.where, "outside");
  EXPECT_FALSE(mark.passed);
}

TEST(Mark, OfAQuickRunIsMissedOnlyBeyondItsSamplingError) {
  Mark mark{"coverage", 0.93, 0.97, true};
  mark.see(Rate{91, 100}, "few");
  EXPECT_TRUE(mark.passed);
  mark.see(Rate{80, 100}, "far");
  EXPECT_FALSE(mark.passed);
  EXPECT_TRUE(mark_json(Mark{"unseen"}).at("passed").is_null());
}

TEST(FixedCandidate, CoversTheShiftThatWasPlantedOnAnyNumberOfThreads) {
  FixedDesign design;
  design.pairs = {754};
  design.shifts_pp = {0, 5};
  design.flips = {0.10};
  design.replicates = 60;
  design.inner = 199;
  design.repeated = 0;
  design.num_threads = 2;
  const std::vector<FixedCell> cells = run_fixed_cells(design, {});
  ASSERT_EQ(cells.size(), 3u);
  for (const FixedCell& cell : cells) {
    EXPECT_NEAR(cell.true_shift_pp, cell.shift_pp, 0.05);
    EXPECT_NEAR(cell.mean_shift_pp, cell.shift_pp, 4 * 100 * std::sqrt(cell.discordance / 754 / 60));
    EXPECT_GE(cell.covered.hits, 52);  // of 60: a share of 95% stays above with chance 0.9997
    EXPECT_TRUE(cell.engine.same_verdict);
    EXPECT_LE(cell.engine.largest_margin_difference, 1e-4);
  }
  EXPECT_LE(cells[0].rejected.hits, 10);
  EXPECT_GE(cells[1].rejected.hits, 50);
  design.num_threads = 1;
  EXPECT_EQ(without_seconds(fixed_json(run_fixed_cells(design, {}))), without_seconds(fixed_json(cells)));
}

TEST(Calibrate, KeepsTheCellsThatFinishedWhenOthersFail) {
  CalibrationDesign design;
  design.quick = true;
  design.fixed.pairs = {20001, 754};  // a control model has at most 20000
  design.fixed.shifts_pp = {};    // but for the cell at the minimum detectable effect
  design.fixed.flips = {0.10};
  design.fixed.replicates = 5;
  design.fixed.inner = 99;
  design.fixed.repeated = 0;
  design.pipeline.cells.emplace_back().kind = "X99";
  const OrderedJson made = calibrate(design, "a build", {});
  ASSERT_EQ(made.at("fixed").size(), 1u);
  EXPECT_EQ(made.at("fixed")[0].at("pairs"), 754);
  EXPECT_EQ(made.at("fixed")[0].at("replicates"), 5);
  EXPECT_TRUE(made.at("pipeline").empty());
  ASSERT_EQ(made.at("failed").size(), 2u);
  EXPECT_EQ(made.at("failed")[0].at("part"), "fixed");
  EXPECT_NE(made.at("failed")[0].at("reason").get<std::string>().find("--pairs 20001"), std::string::npos) << made.at("failed").dump();
  EXPECT_NE(made.at("failed")[1].at("reason").get<std::string>().find("X99"), std::string::npos) << made.at("failed").dump();
  const OrderedJson& mark = made.at("marks").back();
  EXPECT_EQ(mark.at("mark"), "every cell runs through");
  EXPECT_EQ(mark.at("passed"), false);
  EXPECT_EQ(mark.at("cells"), 3);
}

TEST(CalibrationDesign, OfSomePartsKeepsTheirDraws) {
  const CalibrationDesign whole = calibration_design({});
  const CalibrationDesign some = calibration_design({.only = {"noise", "X9"}});
  EXPECT_FALSE(whole.quick);
  EXPECT_TRUE(some.quick);
  EXPECT_TRUE(some.fixed.pairs.empty());
  ASSERT_EQ(some.pipeline.cells.size(), 18u);  // X9 with few and many pairs; noise: 4 without a shift, 12 with
  for (const PipelineCell& cell : some.pipeline.cells) {
    EXPECT_TRUE(cell.kind == "X9" || cell.kind == "noise") << cell.kind;
    const PipelineCell& same = whole.pipeline.cells.at(cell.number);
    EXPECT_EQ(same.number, cell.number);
    EXPECT_EQ(same.kind, cell.kind);
    EXPECT_EQ(same.pairs, cell.pairs);
    EXPECT_EQ(same.replicates, cell.replicates);
    EXPECT_EQ(same.shift_pp, cell.shift_pp);
  }
  EXPECT_FALSE(calibration_design({.only = {"fixed"}}).fixed.pairs.empty());
  EXPECT_THROW(calibration_design({.only = {"X99"}}), UsageError);
  EXPECT_THROW(calibration_design({.quick = true, .only = {"X15"}}), UsageError);
}

TEST(Calibrate, StopsWhenAskedTo) {
  CalibrationDesign design;
  design.fixed.pairs = {754};
  design.fixed.replicates = 5;
  const Progress cancelled{nullptr, nullptr, [] { return true; }};
  EXPECT_THROW(calibrate(design, "a build", cancelled), Interrupted);
}

TEST(CalibrationFile, IsPutIntoAReportWithTheBuildItSpeaksFor) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path / "calibration.json";
  OrderedJson made = {{"format", "fare-calibration/1"}, {"build", build_hash()}, {"quick", true}, {"seed", 0},
                      {"inner_resamples", 999},         {"seconds", 1.5},        {"marks", OrderedJson::array()},
                      {"fixed", OrderedJson::array()},  {"pipeline", OrderedJson::array()}, {"confusion", OrderedJson::array()},
                      {"failed", OrderedJson::array()}};
  write_file(file, made.dump());
  OrderedJson report = {{"calibration", nullptr}, {"calibration_reason", "not run"}};
  put_calibration(report, file);
  EXPECT_EQ(report.at("calibration").at("same_build"), true);
  EXPECT_FALSE(report.contains("calibration_reason"));
  made["build"] = "another";
  write_file(file, made.dump());
  put_calibration(report, file);
  EXPECT_EQ(report.at("calibration").at("same_build"), false);

  made.erase("marks");
  write_file(file, made.dump());
  EXPECT_THROW(read_calibration(file), FormatError);
  write_file(file, "{\"format\": \"fare-report/1\"}");
  EXPECT_THROW(read_calibration(file), FormatError);
  write_file(file, "{");
  EXPECT_THROW(read_calibration(file), FormatError);
  EXPECT_THROW(read_calibration(folder.path / "absent.json"), IoError);
}

}  // namespace
}  // namespace fare
