#include "fare/calibration/fixed_candidate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "fare/calibration/cell_seed.h"
#include "fare/calibration/failure.h"
#include "fare/calibration/kept_cells.h"
#include "fare/calibration/one_thread.h"
#include "fare/calibration/temporary_folder.h"
#include "fare/core/error.h"
#include "fare/core/parallel.h"
#include "fare/diagnosis/measure.h"
#include "fare/lab/draws.h"
#include "fare/models/model.h"
#include "fare/scoring/scorer.h"
#include "fare/stats/power.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {
namespace {

constexpr double kBiasPp = 12;
constexpr int64_t kCheckedPairs = 754;  // by forward passes

Intervention mask_of(const Geometry& g) {
  Intervention mask;
  mask.name = "mask of the side experts";
  Edit edit;
  edit.op = Mask{std::vector<int32_t>(g.planted.begin(), g.planted.end()), Mask::Mode::kRefill, true};
  edit.layers = g.planted_layers;
  mask.edits.push_back(std::move(edit));
  return mask;
}

ControlOptions model_of(int64_t pairs, double shift_pp, double discordance) {
  ControlOptions options;
  options.id = "X10n";
  options.pairs = pairs;
  options.transfer_pairs = 0;
  options.facts = options.utility = 12;
  options.prompts = 0;
  options.neutral_tokens = 1300;
  options.bias_pp = kBiasPp;
  options.reachable_pp = shift_pp;
  options.noise_pp = 100 * discordance;
  return options;
}

// Runs the model itself on its own noise, without an edit and masked, and compares; on the first kCheckedPairs pairs.
EngineCheck check_engine(const ControlOptions& options, const SimulatedModel& model, const Intervention& mask,
                         const DiagnosisOptions& diagnosis, const std::vector<Margins>& base,
                         const std::vector<Margins>& edited) {
  const TemporaryFolder folder;
  make_control_model(options, folder.path / "model");
  const auto engine = Model::open(folder.path / "model", Execution{});
  const auto tokenizer = Tokenizer::open(folder.path / "model");
  StudyFiles files;
  files.pairs = folder.path / "model/pairs.jsonl";
  files.utility = folder.path / "model/utility.jsonl";
  files.neutral = folder.path / "model/neutral.jsonl";
  const Study study = make_study(read_study(files), TextEncoder(*tokenizer), engine->spec().max_positions,
                                 engine->spec().vocab_size, diagnosis.seed);
  const Scorer scorer(*engine, ScorerOptions{});
  const Progress quiet;
  Measurer measurer(scorer, study, nullptr, quiet);
  Items items;
  items.part = "all";
  for (int64_t i = 0; i < std::min(kCheckedPairs, static_cast<int64_t>(study.pairs.size())); ++i)
    items.pairs.push_back(i);
  const Intervention* asked[] = {nullptr, &mask};
  const std::vector<Outcomes> computed = measurer.evaluate(items, asked);
  EngineCheck check;
  for (size_t i = 0; i < items.pairs.size(); ++i)
    check.largest_margin_difference =
        std::max({check.largest_margin_difference, std::abs(computed[0].pairs[i].sum - base[i].sum),
                  std::abs(computed[1].pairs[i].sum - edited[i].sum)});
  const std::vector<int> signs(study.axes.size(), 1);
  const auto decide_on = [&](std::span<const Margins> without, std::span<const Margins> with) {
    const Shift shift =
        measure_shift(model.study(), items.pairs, without, with, signs, MarginScoring::kSum, diagnosis, "calibration");
    const double delta = diagnosis.thresholds.shift_pp;
    return std::tuple{shift.p_one_sided <= 0.05, shift.interval95.low > 0, shift.value_pp >= delta,
                      shift.interval90.low > -delta && shift.interval90.high < delta};
  };
  const size_t n = items.pairs.size();
  check.same_verdict = decide_on(computed[0].pairs, computed[1].pairs) ==
                       decide_on(std::span(base).first(n), std::span(edited).first(n));
  return check;
}

void run_cell(FixedCell& cell, const FixedDesign& design, const Progress& progress) {
  const OneThread one_thread;
  const auto start = std::chrono::steady_clock::now();
  const double deviation = 2, bias = deviation * normal_quantile(0.5 + kBiasPp / 100),
               left = deviation * normal_quantile(0.5 + (kBiasPp - cell.shift_pp) / 100);
  const double angle = noise_angle(bias, bias, deviation, cell.flips);
  cell.discordance = changed_share(bias, left, deviation, angle);
  const ControlOptions options = model_of(cell.pairs, cell.shift_pp, cell.discordance);
  const ControlModel made = build_control_model(options, 1);
  const SimulatedModel model(made);
  const Intervention mask = mask_of(model.world().geometry);
  const NoiseLaw law{deviation, false, angle};
  const auto before = model.states(nullptr), after = model.states(&mask);

  const int64_t num_pairs = static_cast<int64_t>(model.study().pairs.size());
  std::vector<int64_t> all(static_cast<size_t>(num_pairs));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const std::vector<int> signs(model.study().axes.size(), 1);
  cell.true_shift_pp = model.expected_shift_pp(*before, *after, law, signs);
  const auto margins = [&](const SimulatedModel::States& states, const std::vector<PairNoise>& noise) {
    std::vector<Margins> list;
    for (const int64_t i : all) {
      const size_t p = static_cast<size_t>(i);
      const double m = model.critical().margin(i, states.sides[2 * p], states.sides[2 * p + 1], noise[p]);
      list.push_back({m, m, m});
    }
    return list;
  };
  const auto sample = [&](uint64_t seed, int64_t inner) {
    const std::vector<PairNoise> noise = model.draw_noise(law, seed);
    return measure_shift(model.study(), all, margins(*before, noise), margins(*after, noise), signs,
                         MarginScoring::kSum, pipeline_options(cell.pairs, seed, inner, design.interval),
                         "calibration");
  };
  std::vector<Shift> shifts(static_cast<size_t>(design.replicates));
  std::vector<char> same(static_cast<size_t>(std::min(design.repeated, design.replicates)));
  for (int64_t r = 0; r < design.replicates; ++r) {
    progress.check();
    const uint64_t seed = cell_seed(design.seed, "fixed", cell.number, r);
    shifts[static_cast<size_t>(r)] = sample(seed, design.inner);
    if (r < static_cast<int64_t>(same.size()))
      same[static_cast<size_t>(r)] = (sample(seed, design.repeated_inner).p_one_sided <= 0.05) ==
                                     (shifts[static_cast<size_t>(r)].p_one_sided <= 0.05);
  }
  const double delta = pipeline_options(cell.pairs, 0).thresholds.shift_pp;
  for (const Shift& shift : shifts) {
    cell.rejected.add(shift.p_one_sided <= 0.05);
    cell.rejected_two_sided.add(shift.p_two_sided <= 0.05);
    cell.rejected_tanh.add(shift.margin_interval95.low > 0 || shift.margin_interval95.high < 0);
    cell.covered.add(shift.interval95.low <= cell.true_shift_pp && cell.true_shift_pp <= shift.interval95.high);
    const auto within = [&](double limit) { return shift.interval90.low > -limit && shift.interval90.high < limit; };
    cell.equivalent.add(within(delta));
    if (cell.shift_pp > 0) cell.equivalent_at_shift.add(within(cell.true_shift_pp));
    cell.mean_shift_pp += shift.value_pp / static_cast<double>(shifts.size());
    cell.mean_mde_pp += shift.mde_pp.value_or(0) / static_cast<double>(shifts.size());
  }
  for (const char one : same) cell.same_decision.add(one != 0);
  const std::vector<PairNoise>& own = model.critical().own_noise();
  cell.engine = check_engine(options, model, mask, pipeline_options(cell.pairs, design.seed), margins(*before, own),
                             margins(*after, own));
  cell.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double detectable_shift_pp(int64_t pairs, double flips, double bias, double deviation) {
  const double angle = noise_angle(bias, bias, deviation, flips);
  double shift = 1;
  for (int step = 0; step < 50; ++step) {  // the shift itself adds to what changes
    const double left = deviation * normal_quantile(normal_cdf(bias / deviation) - shift / 100);
    const double changed = changed_share(bias, left, deviation, angle);
    shift = 100 * stats::minimum_detectable_effect(std::sqrt(changed), static_cast<double>(pairs)).value();
  }
  return shift;
}

std::vector<FixedCell> run_fixed_cells(const FixedDesign& design, const KeptCells& kept, const Progress& progress) {
  std::vector<FixedCell> cells;
  const double deviation = 2, bias = deviation * normal_quantile(0.5 + kBiasPp / 100);
  for (const int64_t pairs : design.pairs)
    for (const double flips : design.flips) {
      for (const double shift : design.shifts_pp) {
        FixedCell cell;
        cell.number = cells.size();
        cell.pairs = pairs;
        cell.flips = flips;
        cell.shift_pp = shift;
        cells.push_back(cell);
      }
      FixedCell cell;
      cell.number = cells.size();
      cell.pairs = pairs;
      cell.flips = flips;
      cell.shift_pp = detectable_shift_pp(pairs, flips, bias, deviation);
      cell.at_mde = true;
      cells.push_back(cell);
    }
  const Progress quiet{nullptr, nullptr, progress.cancelled};
  std::mutex mutex;
  const int64_t all = static_cast<int64_t>(cells.size());
  int64_t done = 0;
  parallel_for(all, design.num_threads, [&](int64_t c) {
    FixedCell& cell = cells[static_cast<size_t>(c)];
    if (!kept.find("fixed", design.seed, cell)) {
      cell.failure = failure_of([&] { run_cell(cell, design, quiet); });
      kept.keep("fixed", design.seed, cell);
    }
    const std::lock_guard lock(mutex);
    progress("calibration, fixed candidate", ++done, all);
  });
  return cells;
}

OrderedJson fixed_json(const std::vector<FixedCell>& cells) {
  OrderedJson rows = OrderedJson::array();
  for (const FixedCell& cell : cells) {
    OrderedJson row;
    row["pairs"] = cell.pairs;
    row["flips"] = cell.flips;
    row["shift_pp"] = cell.shift_pp;
    row["at_mde"] = cell.at_mde;
    row["true_shift_pp"] = cell.true_shift_pp;
    row["discordance"] = cell.discordance;
    row["replicates"] = cell.rejected.of;
    row["mean_shift_pp"] = cell.mean_shift_pp;
    row["mean_mde_pp"] = cell.mean_mde_pp;
    put_rate(row, "rejected", cell.rejected, "no replicate");
    put_rate(row, "rejected_two_sided", cell.rejected_two_sided, "no replicate");
    put_rate(row, "rejected_tanh", cell.rejected_tanh, "no replicate");
    put_rate(row, "covered", cell.covered, "no replicate");
    put_rate(row, "equivalent", cell.equivalent, "no replicate");
    put_rate(row, "equivalent_at_shift", cell.equivalent_at_shift, "the planted shift is 0");
    put_rate(row, "same_decision", cell.same_decision, "no replicate was repeated");
    row["engine_same"] = cell.engine.same_verdict;
    row["engine_margin_difference"] = cell.engine.largest_margin_difference;
    row["seconds"] = cell.seconds;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace fare
