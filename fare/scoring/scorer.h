// Runs log-likelihood requests under no intervention and under many, in units of work.
// A unit is a set of requests that share prefixes; it is computed whole, and what it gives depends on its requests and
// the options alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fare/core/progress.h"
#include "fare/models/forward.h"
#include "fare/models/model.h"
#include "fare/routing/intervention.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/request.h"

namespace fare {

struct ScorerOptions {
  int64_t max_length = 0;      // context length L; 0 = the model's max_positions
  int64_t unit_rows = 4096;    // rows of a unit; larger units keep the matrix products busy and cost memory
  bool share_prefixes = true;  // off: every request is computed on its own rows
  bool resume = true;          // off: every intervention is computed whole, not only what it changes
  // Several interventions go through each product together, `unit_rows` rows at most: scores then depend in the last
  // bits on which interventions a run has. Off: one by one, for runs that leave some out when they are continued.
  bool batch_edits = false;
  int64_t cache_mb = 2048;  // for what a unit's base run leaves to the interventions; lower layers go without first
  std::filesystem::path scratch;  // folder of a file that takes what cache_mb has no room for; empty = none
  bool base_run = true;           // off: only the interventions are scored
};

// One unit under one intervention, while it runs.
struct UnitRun {
  int64_t intervention = -1;                     // index into `interventions`; -1 = base
  std::span<const int64_t> requests;             // indices of the unit's requests
  const std::vector<FedRequest>* fed = nullptr;  // per request of the unit
  const PackedSequences* packed = nullptr;       // packed->rows[i]: rows of the unit's i-th request
  std::span<const Score> scores;                 // per request of the unit; filled for `done` only
};

// What a caller may watch; every member may be empty. Called in order: skip, begin, then layers, then done.
struct UnitObserver {
  // True leaves this unit under this intervention out: its scores stay empty (a continued run has them stored).
  std::function<bool(const UnitRun&)> skip;
  std::function<void(const UnitRun&)> begin;
  std::function<void(int64_t layer, const at::Tensor& logits_TE, const Decision&)> on_decision;
  Tap tap;
  std::function<void(const UnitRun&)> done;
};

struct RunResult {
  std::vector<Score> scores;  // per request
  Receipt receipt;
};

struct ScorerResult {
  RunResult base;                 // empty when options.base_run is off
  std::vector<RunResult> edited;  // per intervention
  int64_t rows_computed = 0;      // rows of the packs, times share of layers run: the work that was done
  int64_t rows_fed = 0;           // rows without any sharing or resuming
  int64_t cache_mb_needed = 0;    // what holds every unit's record; interventions of the layers that cache_mb has no
                                  // room for were computed whole, or their record lay in the scratch file
  int64_t cache_mb_least = 0;   // what holds the record of the highest edited layer alone: with less nothing is reused
  std::string scratch_problem;  // why that could not be used and they were computed whole; empty = it could
  std::string
      memory_problem;  // what did not fit a device other than the CPU and was computed in parts; empty = all fitted
};

class Scorer {
 public:
  Scorer(const Model& model, ScorerOptions options);

  const Model& model() const { return model_; }
  const ScorerOptions& options() const { return options_; }
  int64_t max_length() const { return max_length_; }

  // Checks requests (fed_part) and interventions (Intervention::check) before anything runs. Throws Interrupted between
  // units.
  ScorerResult run(std::span<const Request> requests, std::span<const Intervention* const> interventions = {},
                   const UnitObserver& observer = {}, const Progress& progress = {}) const;

  // Where a device other than the CPU has no memory for a unit, it is computed in parts: c10::OutOfMemoryError is
  // thrown only where it has none for a single request. The units requests are cut into, as indices; the same for every
  // run of these requests.
  std::vector<std::vector<int64_t>> units(std::span<const Request> requests) const;

 private:
  const Model& model_;
  ScorerOptions options_;
  int64_t max_length_;
};

}  // namespace fare
