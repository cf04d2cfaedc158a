#include "fare/routing/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fare {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// The usual case, no expert forced and a fixed k >= 1: one pass with a short sorted list.
int64_t top_k_plain(const float* value_E, int64_t num_experts, int64_t k, int32_t* ids_K, float* best_K) {
  int64_t num = 0;
  if (k <= 0) return 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    const float value = value_E[e];
    if (value == kNever || (num == k && !(value > best_K[num - 1]))) continue;
    int64_t slot = num < k ? num++ : num - 1;
    // Strictly smaller ones move back, so that the lower index stays ahead in a tie.
    for (; slot > 0 && best_K[slot - 1] < value; --slot) {
      best_K[slot] = best_K[slot - 1];
      ids_K[slot] = ids_K[slot - 1];
    }
    best_K[slot] = value;
    ids_K[slot] = static_cast<int32_t>(e);
  }
  return num;
}

// How many of the experts in `order` a row gets. `score(e)` is what top_p sums.
template <typename Score>
int64_t prefix_length(const std::vector<int32_t>& order, const RowSize& size, const Score& score) {
  const int64_t num = static_cast<int64_t>(order.size());
  if (size.top_p < 0) return std::min(size.k, num);
  double sum = 0;
  for (int64_t i = 0; i < num; ++i) {
    sum += score(order[i]);
    if (sum > size.top_p) return i + 1;
  }
  return num;
}

// Scores of experts outside the kept groups count as 0 (DeepSeek-V2, group_limited_greedy).
void drop_groups(const RouterSpec& spec, SelectionScratch& scratch) {
  const int64_t group_size = spec.num_experts / spec.num_groups;
  std::vector<float> best_G(spec.num_groups, kNever);
  for (int64_t e = 0; e < spec.num_experts; ++e)
    best_G[e / group_size] = std::max(best_G[e / group_size], scratch.value_E[e]);
  std::vector<int32_t> group_ids(spec.top_groups);
  std::vector<float> group_values(spec.top_groups);
  const int64_t kept =
      top_k_plain(best_G.data(), spec.num_groups, spec.top_groups, group_ids.data(), group_values.data());
  scratch.dropped_E.assign(spec.num_experts, 1);
  for (int64_t g = 0; g < kept; ++g)
    std::fill_n(scratch.dropped_E.begin() + group_ids[g] * group_size, group_size, uint8_t{0});
  for (int64_t e = 0; e < spec.num_experts; ++e)
    if (scratch.dropped_E[e] && scratch.value_E[e] != kNever) scratch.value_E[e] = 0;
}

// The general case: forced experts, top-p. Leaves the chosen experts, best first, in scratch.order_E.
void choose_general(const RouterSpec& spec, const RowScores& row, const RowSize& size, SelectionScratch& scratch) {
  const bool corrected = !spec.selection_bias.empty() || spec.num_groups > 0;
  std::vector<int32_t>& order = scratch.order_E;
  order.clear();
  for (int64_t e = 0; e < spec.num_experts; ++e)
    if (row.logits_E[e] != kNever) order.push_back(static_cast<int32_t>(e));

  scratch.tier_E.assign(spec.num_experts, 1);
  if (row.forced_E != nullptr && corrected) {
    // Forced experts get what an uncorrected router would give them, whatever bias and groups say.
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return row.select_E[a] != row.select_E[b] ? row.select_E[a] > row.select_E[b] : a < b;
    });
    const int64_t num = prefix_length(order, size, [&](int32_t e) { return double{row.select_E[e]}; });
    for (int64_t i = 0; i < static_cast<int64_t>(order.size()); ++i) {
      const uint8_t forced = row.forced_E[order[i]];
      if (forced == kForcedOn && i < num) scratch.tier_E[order[i]] = 2;
      if (forced == kForcedOff && i >= num) scratch.tier_E[order[i]] = 0;
    }
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (scratch.tier_E[a] != scratch.tier_E[b]) return scratch.tier_E[a] > scratch.tier_E[b];
    return scratch.value_E[a] != scratch.value_E[b] ? scratch.value_E[a] > scratch.value_E[b] : a < b;
  });
  const auto counts = [&](int32_t e) { return !scratch.dropped_E[e] || scratch.tier_E[e] == 2; };
  // A prefix by mass never reaches into dropped groups: their scores count as 0.
  if (size.top_p >= 0) std::erase_if(order, [&](int32_t e) { return !counts(e); });
  order.resize(prefix_length(order, size, [&](int32_t e) { return double{row.select_E[e]}; }));
}

}  // namespace

void select_row(const RouterSpec& spec, const RowScores& row, const RowSize& size, int64_t num_slots,
                SelectionScratch& scratch, int32_t* ids_K, float* weights_K) {
  const int64_t num_experts = spec.num_experts;
  scratch.value_E.resize(num_experts);
  const float* deciding_E = spec.select_by_logit ? row.select_logits_E : row.select_E;
  for (int64_t e = 0; e < num_experts; ++e) scratch.value_E[e] = row.logits_E[e] == kNever ? kNever : deciding_E[e];
  if (!spec.selection_bias.empty())
    for (int64_t e = 0; e < num_experts; ++e) scratch.value_E[e] += spec.selection_bias[e];
  scratch.dropped_E.assign(num_experts, 0);
  if (spec.num_groups > 0) drop_groups(spec, scratch);

  int64_t num = 0;
  if (row.forced_E == nullptr && size.top_p < 0) {
    scratch.tier_E.assign(num_experts, 1);
    num = top_k_plain(scratch.value_E.data(), num_experts, std::min(size.k, num_slots), ids_K, weights_K);
  } else {
    choose_general(spec, row, size, scratch);
    num = std::min<int64_t>(num_slots, static_cast<int64_t>(scratch.order_E.size()));
    std::copy_n(scratch.order_E.begin(), num, ids_K);
  }

  // Weights come from the scores, never from the correction bias; an expert of a dropped group keeps a score of 0
  // unless it was forced on.
  float sum = 0;
  for (int64_t i = 0; i < num; ++i) {
    const int32_t e = ids_K[i];
    weights_K[i] = scratch.dropped_E[e] && scratch.tier_E[e] != 2 ? 0.0f : row.scores_E[e];
    sum += weights_K[i];
  }
  if (spec.weight_mode == WeightMode::kRenormalised && num > 0) {
    constexpr float kUnderflow = 1e-30f;
    if (sum < kUnderflow && spec.sum_epsilon == 0 && spec.sum_minimum == 0 && spec.num_groups == 0) {
      // Scores chosen by selection edits can be too small for float32; the same ratio, taken from the logits.
      float largest = kNever;
      for (int64_t i = 0; i < num; ++i) largest = std::max(largest, row.logits_E[ids_K[i]]);
      sum = 0;
      for (int64_t i = 0; i < num; ++i) sum += weights_K[i] = std::exp(row.logits_E[ids_K[i]] - largest);
    }
    const float divisor = std::max(sum, static_cast<float>(spec.sum_minimum)) + static_cast<float>(spec.sum_epsilon);
    if (divisor > 0)
      for (int64_t i = 0; i < num; ++i) weights_K[i] /= divisor;
  }
  if (spec.scaling_factor != 1)
    for (int64_t i = 0; i < num; ++i) weights_K[i] *= static_cast<float>(spec.scaling_factor);
  std::fill(ids_K + num, ids_K + num_slots, -1);
  std::fill(weights_K + num, weights_K + num_slots, 0.0f);
}

}  // namespace fare
