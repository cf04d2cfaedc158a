#include "fare/calibration/whole_pipeline.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "fare/calibration/cell_seed.h"
#include "fare/calibration/failure.h"
#include "fare/calibration/kept_cells.h"
#include "fare/calibration/one_thread.h"
#include "fare/core/parallel.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

constexpr int64_t kFewPairs = 2000;  // below, the verdicts that world.json lists for 754 pairs are right as well
constexpr double kBiasPp = 12, kDeviation = 2;

ControlOptions options_of(const PipelineCell& cell) {
  ControlOptions options;
  options.id = cell.kind == "noise" ? "X10n" : cell.kind;
  options.weights = cell.weights;
  options.pairs = cell.pairs;
  options.transfer_pairs = 200;
  options.facts = 800;
  options.utility = 2000;
  options.prompts = 0;
  options.neutral_tokens = 5200;
  options.bias_pp = kBiasPp;
  return options;
}

// What world.json calls right, for a diagnosis that generates no text.
std::vector<std::string> right_verdicts(const PipelineCell& cell) {
  if (cell.kind == "noise") return {};
  const Recipe& made = recipe(cell.kind);
  std::set<std::string> right;
  const bool needs_generation = made.stages[4] == "yes" && made.stages[5] != "any";
  right.insert(needs_generation ? "unresolved at stage 5" : made.headline);
  const auto add = [&](const std::vector<Outcome>& list) {
    for (const Outcome& outcome : list) right.insert(verdict_name(outcome.code, outcome.stage));
  };
  add(made.also);
  if (cell.pairs < kFewPairs) add(made.also_few);
  return {right.begin(), right.end()};
}

struct Replicate {
  std::string verdict;
  bool passed_all = false, rejected = false, covered = false, reached = false;
  double shift_pp = 0, true_pp = 0;
};

Replicate run_replicate(const PreparedModel& prepared, const PipelineDesign& design, uint64_t seed,
                        const Progress& progress) {
  const SimulatedModel& model = *prepared.model;
  const DiagnosisOptions options = pipeline_options(prepared.options.pairs, seed, design.inner, design.interval);
  SimulatedSubject subject(model, model.draw_noise(prepared.law, seed), seed, progress);
  const PipelineRun run = run_pipeline(subject, prepared, options);
  Replicate result;
  result.verdict = verdict_name(run.verdict.headline.code, run.verdict.headline.stage);
  result.passed_all = run.verdict.headline.stage.value_or(5) == 5;
  for (size_t c = 0; c < run.shifts.size(); ++c) {
    result.rejected |= run.p_bh[c] <= 0.05;
    result.reached |= run.shifts[c].value_pp >= options.thresholds.shift_pp;
  }
  const auto base = model.states(nullptr), edited = model.states(&run.candidates.front());
  result.true_pp = model.expected_shift_pp(*base, *edited, prepared.law, run.signs);
  result.shift_pp = run.shifts.front().value_pp;
  const stats::Interval& interval = run.shifts.front().interval95;
  result.covered = interval.low <= result.true_pp && result.true_pp <= interval.high;
  return result;
}

void run_cell(PipelineCell& cell, const PipelineDesign& design, int num_threads, const Progress& progress) {
  const OneThread one_thread;
  const auto start = std::chrono::steady_clock::now();
  ControlOptions options = options_of(cell);
  double angle = 0;
  if (cell.kind == "noise" || cell.kind == "X10n") {
    const double reachable = cell.kind == "noise" ? cell.shift_pp : *recipe("X10n").reachable_pp;
    const double bias = kDeviation * normal_quantile(0.5 + kBiasPp / 100),
                 left = kDeviation * normal_quantile(0.5 + (kBiasPp - reachable) / 100);
    if (cell.kind == "noise") {
      angle = noise_angle(bias, bias, kDeviation, cell.flips);
      options.reachable_pp = cell.shift_pp;
      options.noise_pp = 100 * changed_share(bias, left, kDeviation, angle);
    } else {
      angle = noise_angle(bias, left, kDeviation, recipe("X10n").noise_pp / 100);
    }
  }
  cell.right = right_verdicts(cell);
  const PreparedModel prepared = prepare_model(
      options, angle, pipeline_options(cell.pairs, design.seed, design.inner, design.interval), true, progress);
  cell.engine = prepared.engine;
  std::vector<Replicate> replicates(static_cast<size_t>(cell.replicates));
  parallel_for(cell.replicates, num_threads, [&](int64_t r) {
    const OneThread of_this_thread;
    replicates[static_cast<size_t>(r)] =
        run_replicate(prepared, design, cell_seed(design.seed, "pipeline", cell.number, r), progress);
  });
  for (const Replicate& one : replicates) {
    ++cell.verdicts[one.verdict];
    if (!cell.right.empty()) cell.as_expected.add(std::ranges::count(cell.right, one.verdict) > 0);
    cell.passed_all.add(one.passed_all);
    cell.rejected.add(one.rejected);
    cell.covered.add(one.covered);
    cell.reached.add(one.reached);
    cell.mean_shift_pp += one.shift_pp / static_cast<double>(replicates.size());
    cell.mean_true_pp += one.true_pp / static_cast<double>(replicates.size());
  }
  cell.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One line of a finished cell, for whoever waits.
std::string summary(const PipelineCell& cell) {
  if (!cell.failure.empty()) return fmt::format("{}, {} pairs: failed: {}", cell.kind, cell.pairs, cell.failure);
  std::string verdicts;
  for (const auto& [name, count] : cell.verdicts)
    verdicts += fmt::format("{}{} {}", verdicts.empty() ? "" : ", ", name, count);
  return fmt::format(
      "{}{}, {} pairs{}: {} of {} right; rejected {}; {} ({:.0f} s)", cell.kind, cell.weights == "raw" ? " (raw)" : "",
      cell.pairs,
      cell.kind == "noise" ? fmt::format(", p_d {:.0f}%, shift {} pp", 100 * cell.flips, cell.shift_pp) : "",
      cell.as_expected.hits, cell.as_expected.of, cell.rejected.hits, verdicts, cell.seconds);
}

}  // namespace

void run_pipeline_cells(PipelineDesign& design, const KeptCells& kept, const Progress& progress) {
  const Progress quiet{nullptr, nullptr, progress.cancelled};
  const int64_t cells = static_cast<int64_t>(design.cells.size());
  // Cells side by side, the costly ones first; replicates side by side only where there are fewer cells than threads.
  std::vector<size_t> order(design.cells.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater{},
                           [&](size_t c) { return design.cells[c].pairs * design.cells[c].replicates; });
  const int inside = std::max<int>(1, design.num_threads / static_cast<int>(std::max<int64_t>(1, cells)));
  std::mutex mutex;
  int64_t done = 0;
  parallel_for(cells, design.num_threads, [&](int64_t k) {
    const size_t c = order[static_cast<size_t>(k)];
    PipelineCell& cell = design.cells[c];
    if (!kept.find("pipeline", design.seed, cell)) {
      cell.failure = failure_of([&] { run_cell(cell, design, inside, quiet); });
      kept.keep("pipeline", design.seed, cell);
    }
    const std::lock_guard lock(mutex);
    progress.say(summary(cell));
    progress("calibration, whole pipeline", ++done, cells);
  });
}

OrderedJson pipeline_json(const std::vector<PipelineCell>& cells) {
  OrderedJson rows = OrderedJson::array();
  for (const PipelineCell& cell : cells) {
    OrderedJson row;
    row["kind"] = cell.kind;
    row["weights"] = cell.weights;
    row["pairs"] = cell.pairs;
    row["replicates"] = cell.passed_all.of;
    for (const auto& [name, value] : {std::pair{"shift_pp", cell.shift_pp}, std::pair{"flips", cell.flips}}) {
      row[name] = cell.kind == "noise" ? OrderedJson(value) : OrderedJson(nullptr);
      if (cell.kind != "noise") row[std::string(name) + "_reason"] = "follows from the kind of model";
    }
    put_rate(row, "as_expected", cell.as_expected, "no verdict is asked of a model with planted noise");
    put_rate(row, "passed_all", cell.passed_all, "no replicate");
    put_rate(row, "rejected", cell.rejected, "no replicate");
    put_rate(row, "reached", cell.reached, "no replicate");
    put_rate(row, "covered", cell.covered, "no replicate");
    row["mean_shift_pp"] = cell.mean_shift_pp;
    row["mean_true_pp"] = cell.mean_true_pp;
    row["engine_same"] = cell.engine.same_verdict;
    row["engine_margin_difference"] = cell.engine.largest_margin_difference;
    row["seconds"] = cell.seconds;
    rows.push_back(row);
  }
  return rows;
}

OrderedJson confusion_json(const std::vector<PipelineCell>& cells) {
  OrderedJson rows = OrderedJson::array();
  for (const PipelineCell& cell : cells)
    for (const auto& [verdict, count] : cell.verdicts) {
      if (cell.kind == "noise") continue;
      rows.push_back({{"kind", cell.kind},
                      {"weights", cell.weights},
                      {"pairs", cell.pairs},
                      {"verdict", verdict},
                      {"count", count},
                      {"of", cell.passed_all.of},
                      {"right", std::ranges::count(cell.right, verdict) > 0}});
    }
  return rows;
}

}  // namespace fare
