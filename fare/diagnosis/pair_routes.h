// Router logits and routes of both texts of many pairs, a bounded number at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fare/diagnosis/measure.h"
#include "fare/diagnosis/routing_distance.h"

namespace fare {

// One pair at one MoE layer. Row numbers index the T rows of `logits_TE`.
struct PairRoutes {
  size_t index = 0;  // into the span of pairs
  int64_t layer = 0;
  const float* logits = nullptr;   // [T, E] row-major
  const int32_t* ids = nullptr;    // [T, K]
  const float* weights = nullptr;  // [T, K]
  int64_t num_experts = 0, k = 0;
  std::span<const int32_t> stereo_rows, anti_rows;  // row of each fed position

  TokenRoute stereo(int32_t position) const { return at_row(stereo_rows[static_cast<size_t>(position)]); }
  TokenRoute anti(int32_t position) const { return at_row(anti_rows[static_cast<size_t>(position)]); }

 private:
  TokenRoute at_row(int64_t row) const {
    return {logits + row * num_experts, ids + row * k, weights + row * k, num_experts, k};
  }
};

// Calls `use` once for every pair and layer (layers of one pair in order). Nothing is edited, nothing is stored.
void for_each_pair_routes(Measurer& measurer, std::span<const EncodedPair* const> pairs,
                          const std::function<void(const PairRoutes&)>& use);

}  // namespace fare
