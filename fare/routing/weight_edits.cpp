#include "fare/routing/weight_edits.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fare {
namespace {

// Index of `expert` in the list an edit names, -1 if it is not there.
int64_t index_in(const std::vector<int32_t>& experts, int32_t expert) {
  if (expert < 0) return -1;
  const auto found = std::find(experts.begin(), experts.end(), expert);
  return found == experts.end() ? -1 : found - experts.begin();
}

double sum(const float* weights_K, int64_t num_slots) {
  double total = 0;
  for (int64_t i = 0; i < num_slots; ++i) total += weights_K[i];
  return total;
}

// Rescales to `target`. Weights that sum to 0 cannot be rescaled and stay.
void rescale(double target, int64_t num_slots, float* weights_K) {
  const double now = sum(weights_K, num_slots);
  if (now == target || now == 0) return;
  for (int64_t i = 0; i < num_slots; ++i) weights_K[i] = static_cast<float>(weights_K[i] * (target / now));
}

void drop(const Mask& op, int64_t num_slots, int32_t* ids_K, float* weights_K) {
  const double before = sum(weights_K, num_slots);
  int64_t kept = 0;
  bool dropped = false;
  for (int64_t i = 0; i < num_slots; ++i) {
    if (index_in(op.experts, ids_K[i]) >= 0) {
      dropped = true;
      continue;
    }
    ids_K[kept] = ids_K[i];
    weights_K[kept++] = weights_K[i];
  }
  if (!dropped) return;
  std::fill(ids_K + kept, ids_K + num_slots, -1);
  std::fill(weights_K + kept, weights_K + num_slots, 0.0f);
  if (op.mode == Mask::Mode::kRenormalize) rescale(before, num_slots, weights_K);
}

void reweight(const Reweight& op, int64_t num_slots, const int32_t* ids_K, float* weights_K) {
  // Only ratios matter, since the sum is restored: exponents relative to the largest cannot overflow.
  std::vector<double> exponent_K(static_cast<size_t>(num_slots), 0);
  bool touched = false;
  double largest = -INFINITY;
  for (int64_t i = 0; i < num_slots; ++i) {
    if (ids_K[i] < 0) continue;
    const int64_t named = index_in(op.experts, ids_K[i]);
    if (named >= 0) exponent_K[i] = -op.lambda * op.scores[named];
    touched |= exponent_K[i] != 0;
    if (weights_K[i] != 0) largest = std::max(largest, exponent_K[i]);
  }
  if (!touched || largest == -INFINITY) return;
  const double before = sum(weights_K, num_slots);
  double after = 0;
  std::vector<double> value_K(static_cast<size_t>(num_slots), 0);
  for (int64_t i = 0; i < num_slots; ++i)
    if (weights_K[i] != 0) after += value_K[i] = weights_K[i] * std::exp(exponent_K[i] - largest);
  if (after == 0) return;
  for (int64_t i = 0; i < num_slots; ++i) weights_K[i] = static_cast<float>(value_K[i] * (before / after));
}

void scale(const ScaleWeight& op, int64_t num_slots, const int32_t* ids_K, float* weights_K) {
  const double before = sum(weights_K, num_slots);
  bool touched = false;
  for (int64_t i = 0; i < num_slots; ++i) {
    if (index_in(op.experts, ids_K[i]) < 0) continue;
    weights_K[i] = static_cast<float>(weights_K[i] * op.factor);
    touched = true;
  }
  if (touched && op.keep_sum) rescale(before, num_slots, weights_K);
}

}  // namespace

bool acts_on_weights(const EditOp& op) {
  if (const auto* mask = std::get_if<Mask>(&op)) return mask->mode != Mask::Mode::kRefill;
  return std::holds_alternative<Reweight>(op) || std::holds_alternative<ScaleWeight>(op);
}

void edit_row_weights(const EditOp& op, int64_t num_slots, int32_t* ids_K, float* weights_K) {
  if (const auto* mask = std::get_if<Mask>(&op)) drop(*mask, num_slots, ids_K, weights_K);
  if (const auto* by_score = std::get_if<Reweight>(&op)) reweight(*by_score, num_slots, ids_K, weights_K);
  if (const auto* factor = std::get_if<ScaleWeight>(&op)) scale(*factor, num_slots, ids_K, weights_K);
}

}  // namespace fare
