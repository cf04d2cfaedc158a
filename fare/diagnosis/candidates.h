// Configurations of the intervention families I1 to I5 (methods A4) and how each becomes an intervention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fare/diagnosis/expert_scores.h"
#include "fare/diagnosis/options.h"
#include "fare/diagnosis/router_profile.h"
#include "fare/routing/intervention.h"

namespace fare {

// One point of the search grid.
struct Configuration {
  int64_t id = 0;
  std::string family = "I1";  // I1 logit shift, I2 reweighting, I3 selection only, I4 (de)activation, I5 multiplier
  std::string score = "s3";   // s1, s3, combined; "random" for controls
  int64_t k = 10;             // breadth, clipped to half the experts of the layer set
  double lambda = 1;
  std::string layers = "all";  // all, early, middle, late
  int sign = 1;                // +1 suppresses experts of positive score, -1 the reverse
  bool keep_sum = true;
  bool random_ranking = false;  // a control: never eligible
};

// "I1-s3-k10-l4-all-plus"; unique within a grid (controls end in "-r" and their id). Names of configurations in
// reports.
std::string configuration_name(const Configuration& configuration);

// The grid of the options, clipped and without doubles, then the random-ranking controls; ids count from 0. I4 and I5,
// where the options name them, join as single configurations (one per sign: last score, middle breadth and strength,
// all layers). Each control takes family, breadth, strength, layers and sign of a grid point drawn by (seed,
// "search/random"). Throws UsageError on an unknown family, score or layer set.
std::vector<Configuration> make_grid(const DiagnosisOptions& options, const RoutedModel& model);

// The experts a configuration names, strongest first: top k of the layer set by |score|, ties by layer, then expert.
// Those of score 0 are left out, so there may be fewer than k. A control ranks by uniform numbers in [-1, 1] of the
// stream (seed, "search/random-scores", its id).
struct ChosenExpert {
  int64_t layer = 0;
  int32_t expert = 0;
  double score = 0;  // in [-1, 1]
};
std::vector<ChosenExpert> chosen_experts(const Configuration& configuration, const ExpertScores& scores,
                                         const RoutedModel& model, uint64_t seed);

// The intervention of a configuration; candidates keep the sum of the weights (mode U: keep_sum). With s the score
// times the sign: I1 adds -lambda sigma_l s to the logit; I2 multiplies the weight by exp(-lambda s), rescaled; I3 is
// I1 for the selection only; I4 forces experts of positive s off and, of negative s, at most top_k per layer on; I5
// multiplies the weight by exp(-lambda) where s > 0 and exp(lambda) where s < 0. No edits when `experts` is empty.
Intervention make_intervention(const Configuration& configuration, const std::vector<ChosenExpert>& experts,
                               const RouterProfile& profile, int64_t top_k);

// A random direction: as many experts of the layer set as `chosen` has, by (seed, "dose/..", draw), outside `chosen`
// when `restricted` (as many as there are), with the candidate's score magnitudes in random order and random signs.
std::vector<ChosenExpert> random_direction(const Configuration& configuration, const std::vector<ChosenExpert>& chosen,
                                           const RoutedModel& model, bool restricted, uint64_t seed, int64_t draw);

// MoE layers of a layer set: thirds of the MoE layers in order; empty when there are fewer than 3 for a third.
std::vector<int64_t> layers_of_set(const std::string& name, const RoutedModel& model);

}  // namespace fare
