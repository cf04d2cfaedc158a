// Router logits of both texts of many pairs, a bounded number at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fare/diagnosis/measure.h"

namespace fare {

// One pair at one MoE layer. Row numbers index the T rows of `logits_TE`.
struct PairRoutes {
  size_t index = 0;                        // into the span of pairs
  int64_t layer = 0;
  const float* logits = nullptr;           // [T, E] row-major
  int64_t num_experts = 0;
  std::span<const int32_t> stereo_rows, anti_rows;  // row of each fed position
};

// Calls `use` once for every pair and layer (layers of one pair in order). Nothing is edited, nothing is stored.
void for_each_pair_routes(Measurer& measurer, std::span<const EncodedPair* const> pairs,
                          const std::function<void(const PairRoutes&)>& use);

}  // namespace fare
