#include "fare/calibration/calibration.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <set>

#include "fare/calibration/kept_cells.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

constexpr const char* kFormat = "fare-calibration/1";
constexpr int64_t kMany = 5000, kFew = 754;
constexpr double kEnoughFlips = 20;  // a cell's interval is judged from so many expected flips on

std::string cell_name(const FixedCell& cell) {
  return fmt::format("n {}, p_d {:.0f}%, shift {:.1f} pp", cell.pairs, 100 * cell.flips, cell.shift_pp);
}

std::string cell_name(const PipelineCell& cell) {
  return cell.kind == "noise"
             ? fmt::format("noise, n {}, p_d {:.0f}%, shift {:.1f} pp", cell.pairs, 100 * cell.flips, cell.shift_pp)
             : fmt::format("{}, n {}", cell.kind, cell.pairs);
}

// The pass marks of methods E5.
OrderedJson marks_json(const std::vector<FixedCell>& fixed, const std::vector<PipelineCell>& pipeline, bool few) {
  Mark rejection{"fixed candidate: rejection at shift 0", 0, 0.07, few},
      coverage{"fixed candidate: coverage of the 95% interval", 0.93, 0.97, few},
      power{"fixed candidate: power at the minimum detectable effect", 0.70, 0.90, few},
      equivalence{"fixed candidate: equivalence accepted at the margin", 0, 0.07, few},
      whole{"whole pipeline: rejection at shift 0", 0, 0.07, few},
      diagonal{"whole pipeline: right verdict at 5,000 pairs", 0.95, 1, few},
      never{"whole pipeline: X3, X4, X5, X9 pass every stage", 0, 0, few},
      weak{"whole pipeline: X10 passes every stage at 5,000 pairs", 0, 0.01, few},
      weak_few{"whole pipeline: X10 passes every stage at 754 pairs", 0, 0.05, few},
      margins{"engine: largest difference of a margin, nats", 0, 1e-4}, verdicts{"engine: same verdict", 1, 1},
      finished{"every cell runs through", 1, 1};
  for (const FixedCell& cell : fixed) {
    const std::string name = cell_name(cell);
    finished.see(cell.failure.empty() ? 1.0 : 0.0, name);
    if (!cell.failure.empty()) continue;
    if (cell.shift_pp == 0) rejection.see(cell.rejected, name);
    if (static_cast<double>(cell.pairs) * cell.discordance >= kEnoughFlips) coverage.see(cell.covered, name);
    if (cell.at_mde) power.see(cell.rejected_two_sided, name);
    equivalence.see(cell.equivalent_at_shift, name);
    margins.see(cell.engine.largest_margin_difference, name);
    verdicts.see(cell.engine.same_verdict ? 1.0 : 0.0, name);
  }
  for (const PipelineCell& cell : pipeline) {
    const std::string name = cell_name(cell);
    finished.see(cell.failure.empty() ? 1.0 : 0.0, name);
    if (!cell.failure.empty()) continue;
    if (cell.kind == "noise" && cell.shift_pp == 0) whole.see(cell.rejected, name);
    if (cell.pairs == kMany) diagonal.see(cell.as_expected, name);
    if (cell.kind == "X3" || cell.kind == "X4" || cell.kind == "X5" || cell.kind == "X9")
      never.see(cell.passed_all, name);
    if (cell.kind == "X10" || cell.kind == "X10n") (cell.pairs == kMany ? weak : weak_few).see(cell.passed_all, name);
    margins.see(cell.engine.largest_margin_difference, name);
    verdicts.see(cell.engine.same_verdict ? 1.0 : 0.0, name);
  }
  OrderedJson rows = OrderedJson::array();
  for (const Mark& mark :
       {rejection, coverage, power, equivalence, whole, diagonal, never, weak, weak_few, margins, verdicts, finished})
    rows.push_back(mark_json(mark));
  return rows;
}

// Takes the cells that failed out of `cells`: a row each, with the reason.
template <typename Cell>
void take_failed(std::vector<Cell>& cells, const char* part, OrderedJson& rows) {
  for (const Cell& cell : cells)
    if (!cell.failure.empty()) rows.push_back({{"part", part}, {"cell", cell_name(cell)}, {"reason", cell.failure}});
  std::erase_if(cells, [](const Cell& cell) { return !cell.failure.empty(); });
}

CalibrationDesign whole_design(const CalibrationOptions& options) {
  CalibrationDesign design;
  design.quick = options.quick || options.share < 1;
  design.fixed.seed = design.pipeline.seed = options.seed;
  design.fixed.num_threads = design.pipeline.num_threads = options.num_threads;
  design.fixed.interval = design.pipeline.interval = options.interval;
  const auto shared = [&](int64_t replicates) {
    return std::max<int64_t>(5, static_cast<int64_t>(std::llround(options.share * static_cast<double>(replicates))));
  };
  const auto add = [&](const std::string& kind, int64_t pairs, int64_t replicates, double shift_pp = 0,
                       double flips = 0, const std::string& weights = "renormalised") {
    PipelineCell cell;
    cell.number = design.pipeline.cells.size();
    cell.kind = kind;
    cell.weights = weights;
    cell.pairs = pairs;
    cell.replicates = shared(replicates);
    cell.shift_pp = shift_pp;
    cell.flips = flips;
    design.pipeline.cells.push_back(cell);
  };
  if (options.quick) {
    design.fixed.pairs = {kFew};
    design.fixed.shifts_pp = {0, 3};
    design.fixed.replicates = 400;
    design.fixed.repeated = 5;
    for (const char* kind : {"X1", "X2", "X4", "X9"}) add(kind, kFew, 20);
    for (const double shift : {0.0, 5.0}) add("noise", kFew, 40, shift, 0.10);
    return design;
  }
  design.fixed.replicates = shared(design.fixed.replicates);
  design.fixed.repeated = std::min(design.fixed.repeated, design.fixed.replicates);
  for (const Recipe& made : recipes()) {
    const bool asked_often =
        made.id == "X3" || made.id == "X4" || made.id == "X5" || made.id == "X9" || made.id == "X10";
    add(made.id, kMany, asked_often ? 500 : 100);
  }
  for (const char* kind : {"X2", "X4"}) add(kind, kMany, 100, 0, 0, "raw");
  for (const Recipe& made : recipes()) add(made.id, kFew, 100);
  for (const int64_t pairs : {kFew, kMany})
    for (const double flips : {0.02, 0.10}) add("noise", pairs, 500, 0, flips);
  for (const int64_t pairs : {kFew, kMany})
    for (const double shift : {1.0, 2.0, 2.5, 3.0, 5.0, 10.0}) add("noise", pairs, 100, shift, 0.10);
  return design;
}

// Of the calibration's file; a report shows all but the format.
constexpr const char* kFields[] = {"build", "quick", "seed",     "interval",  "inner_resamples", "seconds",
                                   "marks", "fixed", "pipeline", "confusion", "failed"};

}  // namespace

CalibrationDesign calibration_design(const CalibrationOptions& options) {
  CalibrationDesign design = whole_design(options);
  if (options.only.empty()) return design;
  std::set<std::string> known = {"fixed"};
  for (const PipelineCell& cell : design.pipeline.cells) known.insert(cell.kind);
  for (const std::string& name : options.only)
    if (!known.contains(name))
      throw UsageError(fmt::format("--only {}: no such part of this run; it has: {}", name, fmt::join(known, ", ")));
  const auto asked = [&](const std::string& name) { return std::ranges::count(options.only, name) > 0; };
  design.quick = true;
  if (!asked("fixed")) design.fixed.pairs.clear();
  std::erase_if(design.pipeline.cells, [&](const PipelineCell& cell) { return !asked(cell.kind); });
  return design;
}

OrderedJson calibrate(const CalibrationOptions& options, const std::string& build, Store* store,
                      const Progress& progress) {
  return calibrate(calibration_design(options), build, store, progress);
}

OrderedJson calibrate(CalibrationDesign design, const std::string& build, Store* store, const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  const KeptCells kept = store != nullptr ? KeptCells(*store, build) : KeptCells();
  run_pipeline_cells(design.pipeline, kept, progress);
  std::vector<FixedCell> fixed = run_fixed_cells(design.fixed, kept, progress);
  OrderedJson json;
  json["format"] = kFormat;
  json["build"] = build;
  json["quick"] = design.quick;
  json["seed"] = design.pipeline.seed;
  json["interval"] = stats::interval_name(design.fixed.interval);
  json["inner_resamples"] = design.fixed.inner;
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  json["marks"] = marks_json(fixed, design.pipeline.cells, design.quick);
  OrderedJson failed = OrderedJson::array();
  take_failed(fixed, "fixed", failed);
  take_failed(design.pipeline.cells, "pipeline", failed);
  json["fixed"] = fixed_json(fixed);
  json["pipeline"] = pipeline_json(design.pipeline.cells);
  json["confusion"] = confusion_json(design.pipeline.cells);
  json["failed"] = std::move(failed);
  return json;
}

std::string build_hash() {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  return sha256_hex(read_file(program));
}

std::optional<std::filesystem::path> calibration_path(const std::string& build, stats::IntervalKind interval) {
  std::filesystem::path folder;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') folder = cache;
  else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    folder = std::filesystem::path(home) / ".cache";
  else return std::nullopt;
  return folder / "fare" /
         ("calibration-" + build.substr(0, 16) + (interval == stats::IntervalKind::kBca ? "-bca" : "") + ".json");
}

OrderedJson read_calibration(const std::filesystem::path& file) {
  OrderedJson json;
  try {
    json = OrderedJson::parse(read_file(file));
  } catch (const Json::exception& error) {
    throw FormatError(file.string(), "", std::string("not JSON: ") + error.what());
  }
  if (!json.is_object() || json.value("format", "") != kFormat)
    throw FormatError(file.string(), "format",
                      std::string("is not \"") + kFormat + "\"; give a file that `fare calibrate` wrote");
  for (const char* field : kFields)
    if (!json.contains(field))
      throw FormatError(file.string(), field, "is missing; the file is cut short, or was made by another version");
  return json;
}

void put_calibration(OrderedJson& report, const std::filesystem::path& file) {
  const std::string build = build_hash();
  const auto interval =
      report.at("thresholds").at("interval") == "bca" ? stats::IntervalKind::kBca : stats::IntervalKind::kPercentile;
  std::optional<std::filesystem::path> found;
  if (!file.empty()) found = file;
  else if (const auto kept = calibration_path(build, interval); kept && std::filesystem::exists(*kept)) found = kept;
  if (!found) {
    report["calibration"] = nullptr;
    report["calibration_reason"] = "not run for this build" +
                                   std::string(interval == stats::IntervalKind::kBca ? " with --interval bca" : "") +
                                   ": `fare calibrate` measures how often its verdicts are wrong";
    return;
  }
  OrderedJson json = read_calibration(*found);
  OrderedJson part;
  part["same_build"] = json.at("build") == build;
  for (const char* field : kFields) part[field] = json.at(field);
  report["calibration"] = std::move(part);
  report.erase("calibration_reason");
}

}  // namespace fare
