// Marks, the file of a calibration and what a report shows of it; cells are run small.
#include "fare/calibration/calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fare/calibration/kept_cells.h"
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

TEST(Mark, ALimitThatNoSharePassesIsNotWhereTheWorstCellLies) {
  Mark most{"rejection", 0, 0.07}, least{"right", 0.95, 1}, never{"passes", 0, 0};
  for (const double value : {0.0, 0.0625, 0.05}) most.see(value, "cell"), least.see(1 - value, "cell");
  never.see(0.0, "none"), never.see(0.01, "some");
  EXPECT_EQ(most.value, 0.0625);
  EXPECT_TRUE(most.passed);
  EXPECT_EQ(least.value, 1 - 0.0625);
  EXPECT_EQ(never.where, "some");
  EXPECT_FALSE(least.passed || never.passed);
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
  const std::vector<FixedCell> cells = run_fixed_cells(design, KeptCells(), {});
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
  EXPECT_EQ(without_seconds(fixed_json(run_fixed_cells(design, KeptCells(), {}))), without_seconds(fixed_json(cells)));
}

TEST(Calibrate, KeepsTheCellsThatFinishedWhenOthersFail) {
  CalibrationDesign design;
  design.quick = true;
  design.fixed.pairs = {20001, 754};  // a control model has at most 20000
  design.fixed.shifts_pp = {};        // but for the cell at the minimum detectable effect
  design.fixed.flips = {0.10};
  design.fixed.replicates = 5;
  design.fixed.inner = 99;
  design.fixed.repeated = 0;
  design.pipeline.cells.emplace_back().kind = "X99";
  const OrderedJson made = calibrate(design, "a build", nullptr, {});
  ASSERT_EQ(made.at("fixed").size(), 1u);
  EXPECT_EQ(made.at("fixed")[0].at("pairs"), 754);
  EXPECT_EQ(made.at("fixed")[0].at("replicates"), 5);
  EXPECT_TRUE(made.at("pipeline").empty());
  ASSERT_EQ(made.at("failed").size(), 2u);
  EXPECT_EQ(made.at("failed")[0].at("part"), "fixed");
  EXPECT_NE(made.at("failed")[0].at("reason").get<std::string>().find("--pairs 20001"), std::string::npos)
      << made.at("failed").dump();
  EXPECT_NE(made.at("failed")[1].at("reason").get<std::string>().find("X99"), std::string::npos)
      << made.at("failed").dump();
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

TEST(Calibrate, GoesOnWhereItStopped) {
  const TemporaryFolder folder;
  Store store(folder.path / "rows.sqlite");
  CalibrationDesign design;
  design.quick = true;
  design.fixed.pairs = {754};
  design.fixed.shifts_pp = {0};
  design.fixed.flips = {0.10};
  design.fixed.replicates = 10;
  design.fixed.inner = 99;
  design.fixed.repeated = 2;
  design.pipeline.cells = {{.number = 3, .kind = "X99"}};
  const OrderedJson first = calibrate(design, "a build", &store, {});
  EXPECT_EQ(store.count(), 2);  // with the one at the detectable effect; what was given up is not kept
  const OrderedJson again = calibrate(design, "a build", &store, {});
  EXPECT_EQ(first.at("fixed"), again.at("fixed"));  // the seconds too: they were not run again
  EXPECT_EQ(first.at("marks"), again.at("marks"));
  EXPECT_EQ(first.at("failed"), again.at("failed"));
  calibrate(design, "another build", &store, {});
  EXPECT_EQ(store.count(), 4);
}

TEST(KeptCells, GiveACellBackWhole) {
  const TemporaryFolder folder;
  Store store(folder.path / "rows.sqlite");
  PipelineCell cell{
      .number = 7, .kind = "noise", .weights = "raw", .pairs = 5000, .replicates = 3, .shift_pp = 2.5, .flips = 0.1};
  cell.right = {"costly"};
  cell.verdicts = {{"costly", 2}, {"unresolved at stage 5", 1}};
  cell.as_expected = {2, 3}, cell.passed_all = {1, 3}, cell.rejected = {3, 3}, cell.covered = {0, 3},
  cell.reached = {2, 3};
  cell.mean_shift_pp = 1.0 / 3, cell.mean_true_pp = 2.0 / 7, cell.seconds = 12.5;
  cell.engine = {true, "costly", 1e-5 / 3};
  KeptCells(store, "a").keep("pipeline", 0, cell);
  PipelineCell found{.number = 7};
  EXPECT_FALSE(KeptCells(store, "a").find("pipeline", 1, found));
  EXPECT_FALSE(KeptCells(store, "b").find("pipeline", 0, found));
  EXPECT_FALSE(KeptCells(store, "a").find("fixed", 0, found));
  ASSERT_TRUE(KeptCells(store, "a").find("pipeline", 0, found));
  EXPECT_EQ(pipeline_json({found}), pipeline_json({cell}));
  EXPECT_EQ(confusion_json({found}), confusion_json({cell}));
  found.kind = cell.kind = "X3";
  EXPECT_EQ(confusion_json({found}), confusion_json({cell}));
}

TEST(Calibrate, StopsWhenAskedTo) {
  CalibrationDesign design;
  design.fixed.pairs = {754};
  design.fixed.replicates = 5;
  const Progress cancelled{nullptr, nullptr, [] { return true; }};
  EXPECT_THROW(calibrate(design, "a build", nullptr, cancelled), Interrupted);
}

TEST(CalibrationFile, IsPutIntoAReportWithTheBuildItSpeaksFor) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path / "calibration.json";
  OrderedJson made = {{"format", "fare-calibration/1"},
                      {"build", build_hash()},
                      {"quick", true},
                      {"seed", 0},
                      {"interval", "percentile"},
                      {"inner_resamples", 999},
                      {"seconds", 1.5},
                      {"marks", OrderedJson::array()},
                      {"fixed", OrderedJson::array()},
                      {"pipeline", OrderedJson::array()},
                      {"confusion", OrderedJson::array()},
                      {"failed", OrderedJson::array()}};
  write_file(file, made.dump());
  OrderedJson report = {
      {"thresholds", {{"interval", "percentile"}}}, {"calibration", nullptr}, {"calibration_reason", "not run"}};
  put_calibration(report, file);
  EXPECT_EQ(report.at("calibration").at("same_build"), true);
  EXPECT_FALSE(report.contains("calibration_reason"));
  made["build"] = "another";
  write_file(file, made.dump());
  put_calibration(report, file);
  EXPECT_EQ(report.at("calibration").at("same_build"), false);

  // Without a file: the one kept for this build and the report's own kind of interval.
  EXPECT_NE(calibration_path("a", stats::IntervalKind::kBca), calibration_path("a", stats::IntervalKind::kPercentile));

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
