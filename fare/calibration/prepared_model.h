// One control model, ready for replicates: what the engine says of it that no draw of noise changes (router profile,
// scores of experts, reaction to groups), and the model reduced.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fare/calibration/simulated_subject.h"
#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/reach_searches.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/diagnosis/verdict.h"

namespace fare {

struct EngineCheck {
  bool same_verdict = false;
  std::string verdict;                   // of the forward passes; empty where none was asked for
  double largest_margin_difference = 0;  // nats
};

struct PreparedModel {
  ControlOptions options;
  std::unique_ptr<SimulatedModel> model;
  NoiseLaw law;
  RouterProfile profile;
  ExpertScores scores;
  SensitivityAnswer sensitivity;
  std::vector<ReachTrail> trails;  // of both optimisers of a static bias (methods A6 a), on the model's own noise
  EngineCheck engine;              // the whole pipeline on the model's own noise, by forward passes and reduced
};

// Makes the model in a temporary folder, opens it in float32, runs profile, scores and sensitivity and, for a
// `pipeline`, the optimisers of a static bias and the pipeline both ways. `angle`: of NoiseLaw.
PreparedModel prepare_model(const ControlOptions& options, double angle, const DiagnosisOptions& diagnosis,
                            bool pipeline, const Progress& progress);

// The part of a diagnosis that reads outcomes: search, dose control, test split, verdict.
struct PipelineRun {
  Verdict verdict;
  std::vector<Shift> shifts;  // per candidate, test split
  std::vector<double> p_bh;   // per candidate
  std::vector<Intervention> candidates;
  std::vector<int> signs;          // per axis
  double validation_shift_pp = 0;  // of the first candidate, as the search saw it
  Outcomes base;                   // every pair, then every transfer pair; every item
  std::vector<Outcomes> survivors;
};
PipelineRun run_pipeline(OutcomeSource& source, const PreparedModel& prepared, const DiagnosisOptions& options);

// "CODE", or "unresolved at stage N".
std::string verdict_name(const std::string& code, std::optional<int64_t> stage);

// Smaller numbers of resamples and random controls than a diagnosis has; delta_B follows the number of pairs.
DiagnosisOptions pipeline_options(int64_t pairs, uint64_t seed, int64_t replicates = 999,
                                  stats::IntervalKind interval = stats::IntervalKind::kPercentile);

}  // namespace fare
