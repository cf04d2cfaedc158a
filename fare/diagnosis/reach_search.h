// Two optimisers over the free numbers of a control (methods A6 a): gradients through a dense stand-in for the hard
// choice, and simultaneous perturbation without gradients. Both lower
//   sum_g w_g max(0, sigma_g mean_{i in g} tanh(m_i / tau_m)) + mu KL(p_base || p_edited at utility answers)
// where mu is 0 in a run's first half (reach) and follows the measured drop of utility in the second (reach within
// tau).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fare/diagnosis/reach_batch.h"
#include "fare/diagnosis/reach_control.h"

namespace fare {

struct ReachSteps {
  int64_t steps = 300;                                // of each half
  double learning_rate = 0.05;                        // Adam, in sigmas
  double temperature_from = 2, temperature_to = 0.1;  // of the dense stand-in, falling geometrically over a half
  double perturbation = 0.1;                          // of simultaneous perturbation, in sigmas
  double eta_mu = 0.5;                                // of dual ascent on the drop, as a share of items
  int64_t snapshots = 6;                              // kept from each half, evenly spaced, the last one included
};

// What both optimisers need to know of the task.
struct ReachTask {
  const ReachBatches* batches = nullptr;
  const std::vector<ReachBatch>* train = nullptr;  // taken in turn
  const std::vector<int>* signs = nullptr;         // per axis
  double tau_nats = 1;                             // median |m_i| of the base model
  double tau_drop = 0.01;                          // tolerated drop, as a share of items
  std::function<void()> step;                      // called before each step of a descent; may be empty
};

// Value of the first sum on one batch, and its slope in each margin.
struct BiasTerm {
  double value = 0;
  std::vector<double> slope;      // per pair of the batch
  std::vector<double> remaining;  // per axis: share of the base's value that is left, in [0, 2]; 1 where it has none
};
BiasTerm bias_term(const ReachBatch& batch, std::span<const double> margins, const std::vector<int>& signs,
                   std::span<const double> axis_weights, double tau_nats);

// Snapshots of theta, the first half's before the second's.
std::vector<std::vector<double>> descend_by_gradient(const ReachTask& task, const FreeControl& control,
                                                     std::vector<double> theta, const ReachSteps& steps);
// Random signs come from the stream (seed, "reach/spsa").
std::vector<std::vector<double>> descend_by_perturbation(const ReachTask& task, const FreeControl& control,
                                                         std::vector<double> theta, const ReachSteps& steps,
                                                         uint64_t seed);

}  // namespace fare
