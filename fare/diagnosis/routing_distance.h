// How far two tokens' routing lies apart (methods A1).
#pragma once

#include <array>
#include <cstdint>

namespace fare {

// One token's decision at one layer: raw logits [E], chosen ids [K] (-1 = absent) and their weights [K].
struct TokenRoute {
  const float* logits = nullptr;
  const int32_t* ids = nullptr;
  const float* weights = nullptr;
  int64_t num_experts = 0, k = 0;
};

enum RoutingStatistic {
  kJs,
  kTotalVariation,
  kSymmetricKl,
  kSetDistance,
  kWeightedDistance,
  kLogitShift,
  kNumRoutingStatistics
};
inline constexpr const char* kRoutingStatisticNames[] = {"js",           "total_variation",   "symmetric_kl",
                                                         "set_distance", "weighted_distance", "logit_shift"};
using RoutingStatistics = std::array<double, kNumRoutingStatistics>;

// With p, q the softmax over all experts and S, S' the chosen sets:
//   js                 Jensen-Shannon divergence in bit; below 1e-9 counts as 0
//   total_variation    sum |p - q| / 2
//   symmetric_kl       mean of KL(p || q) and KL(q || p) in bit, probabilities floored at 1e-8
//   set_distance       1 - |S n S'| / |S u S'|
//   weighted_distance  1 - sum_e min(g_e, g'_e), weights scaled to sum 1
//   logit_shift        ||z - z'|| over the SD of a row's logits (root mean square of both rows); 0 where that SD is 0
// All 0 for equal logits.
RoutingStatistics routing_statistics(const TokenRoute& a, const TokenRoute& b);

// The first of them alone.
double router_divergence_bits(const float* a, const float* b, int64_t num_experts);

}  // namespace fare
