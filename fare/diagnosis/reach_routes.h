// Other routes at the critical token of a pair, in the last layer: the best of some sampled routes (an oracle that sees
// the answer) and a router trained toward better routes (methods A6 c and d, B1, B4, B5). Shapes: N critical rows, E
// experts, K slots, D width, G sampled routes, V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/diagnosis/reach_batch.h"

namespace fare {

// Where a pair is decided: the fed positions, matched between its texts, whose next tokens differ most in
// log-probability. One row where both texts still share their beginning, else one in each text.
struct CriticalRow {
  size_t pair = 0;                                  // index into CriticalRows::pairs
  std::vector<std::pair<int32_t, double>> targets;  // tokens and their sign in the margin
};

// Everything a route in the last layer needs: its output is the only thing there that a route changes.
struct CriticalRows {
  std::vector<int64_t> pairs;  // indices into Study::pairs
  std::vector<double> margin;  // per pair, base
  std::vector<CriticalRow> rows;
  at::Tensor rest_ND;   // last residual stream without the routed output
  at::Tensor input_ND;  // router's input
  at::Tensor logits_NE;
  at::Tensor outputs_NED;   // every expert's output
  at::Tensor base_ids_NK;   // executed route, int64
  at::Tensor weight_sum_N;  // of the executed route
};

// None, with the reason: the last decoder layer has no router (a route of an earlier one reaches more than its own
// row), or no pair has a critical token.
struct CriticalRowsResult {
  std::optional<CriticalRows> rows;
  std::string reason;
};
CriticalRowsResult critical_rows(const ReachBatches& batches, std::span<const int64_t> pairs);

// What the row adds to its pair's margin under routes ids_NGK of the rows `which` (all rows when empty), with weights
// by the rule of the model at critical.logits_NE, scaled to critical.weight_sum_N: [n, G] nats.
at::Tensor margin_parts(const Model& model, const CriticalRows& critical, const at::Tensor& ids_NGK,
                        std::span<const int64_t> which = {});

// G routes of each row sampled without replacement by log pi + Gumbel noise from the stream (seed, label, pair, row):
// [N, G, K] int64. With `explore` every second one is a uniform draw: where the router is sure of itself, its own draws
// are all alike.
at::Tensor sample_routes(const Model& model, const CriticalRows& critical, const at::Tensor& logits_NE, int64_t draws,
                         bool explore, uint64_t seed, const std::string& label, std::span<const int64_t> which = {});

// Margins of the pairs where every row takes the best of its first `draws` routes for -max(0, sigma m), one vector for
// each entry of `draws`. A pair that leans the other way keeps its route. `signs` per axis.
std::vector<std::vector<double>> oracle_margins(const Model& model, const Study& study, const CriticalRows& critical,
                                                const std::vector<int>& signs, std::span<const int64_t> draws,
                                                uint64_t seed);

struct RouterTraining {
  double learning_rate = 0.01;  // AdamW on the standardised input
  double beta = 0.1;
  int64_t draws = 32, epochs = 4, pairs_per_step = 16;
  double least_loss = 0.1;  // nats; pairs below it are left alone
  int64_t snapshots = 4;
  uint64_t seed = 0;
};
struct TrainedRouter {
  std::vector<at::Tensor> change_ED;  // of W_r, snapshots in order
  std::vector<at::Tensor> change_E;   // of its bias
  double preference_accuracy = 0;     // share of the last epoch's comparisons that the surrogate orders right
  double adoption = 0;                // share of rows whose executed route became the better one
};
TrainedRouter train_router(const ReachBatches& batches, const CriticalRows& critical, const std::vector<int>& signs,
                           const RouterTraining& how, const Progress& progress);

// The intervention of a change of the last layer's router.
Intervention router_change(const Model& model, const at::Tensor& change_ED, const at::Tensor& change_E, double scale);

// Routes of equal size keep the normaliser: dloss/dz_e = -gain (1 - sigmoid(m)) beta (1[e in better] - 1[e in
// executed]). better_K, executed_K: int64; returns float32 [E].
at::Tensor preference_slope(const at::Tensor& better_K, const at::Tensor& executed_K, double gain, double margin,
                            double beta, int64_t num_experts);

}  // namespace fare
