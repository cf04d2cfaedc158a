// Chooses experts for rows whose scores are known, and gives them their weights. Internal to routing.
// Shapes: R rows, E experts, K slots per row.
#pragma once

#include <cstdint>
#include <vector>

#include "fare/routing/route_table.h"
#include "fare/routing/router_spec.h"

namespace fare {

// What the experts of one row are chosen by.
struct RowScores {
  const float* logits_E = nullptr;  // after logit edits; -inf = cannot be chosen
  const float* scores_E = nullptr;  // their softmax: what weights are made of
  const float* select_E = nullptr;  // scores that decide the selection (equal to scores_E without selection edits)
  const float* select_logits_E = nullptr;  // and the logits they come from
  const uint8_t* forced_E = nullptr;       // kForcedOn, kForcedOff or 0; null = no expert is forced
};
inline constexpr uint8_t kForcedOn = 1;
inline constexpr uint8_t kForcedOff = 2;

// How many experts a row gets.
struct RowSize {
  int64_t k = 0;
  double top_p = -1;  // >= 0: the smallest prefix whose scores sum to more than this, instead of k
};

// Reused between rows.
struct SelectionScratch {
  std::vector<float> value_E;
  std::vector<int32_t> order_E;
  std::vector<uint8_t> tier_E;
  std::vector<uint8_t> dropped_E;
};

// Writes `num_slots` ids (by falling selection value, ties to the lower index, -1 where absent) and weights (0 where
// absent) of one row. Fewer experts than asked for are chosen when fewer can be. At most `num_slots` are chosen.
void select_row(const RouterSpec& spec, const RowScores& row, const RowSize& size, int64_t num_slots,
                SelectionScratch& scratch, int32_t* ids_K, float* weights_K);

}  // namespace fare
