#include "fare/routing/receipt.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fare/core/error.h"

namespace fare {
namespace {

// Experts and weights of one row, by expert.
using Row = std::vector<std::pair<int32_t, double>>;

void read_row(const Route& route, int64_t t, Row& row) {
  const int64_t num_slots = route.ids_TK.size(1);
  const int32_t* ids_K = route.ids_TK.const_data_ptr<int32_t>() + t * num_slots;
  const float* weights_K = route.weights_TK.const_data_ptr<float>() + t * num_slots;
  row.clear();
  for (int64_t i = 0; i < num_slots; ++i)
    if (ids_K[i] >= 0) row.emplace_back(ids_K[i], weights_K[i]);
  std::sort(row.begin(), row.end());
}

struct Difference {
  bool set_changed = false;
  double largest_change = 0;   // of a weight
  double largest_weight = 0;   // before or after
  double gate_mass_moved = 0;  // half the absolute difference of weights scaled to sum 1
};

// Factor that scales a row's weights to sum 1; 0 (a zero vector) where no weight is left.
double to_unit_sum(const Row& row) {
  double sum = 0;
  for (const auto& [expert, weight] : row) sum += weight;
  return sum == 0 ? 0 : 1 / sum;
}

Difference compare(const Row& before, const Row& after) {
  Difference difference;
  const double before_scale = to_unit_sum(before), after_scale = to_unit_sum(after);
  const auto count = [&](double old_weight, double new_weight) {
    difference.largest_change = std::max(difference.largest_change, std::abs(new_weight - old_weight));
    difference.largest_weight = std::max({difference.largest_weight, std::abs(old_weight), std::abs(new_weight)});
    difference.gate_mass_moved += std::abs(new_weight * after_scale - old_weight * before_scale) / 2;
  };
  size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    if (j == after.size() || (i < before.size() && before[i].first < after[j].first)) {
      count(before[i++].second, 0);
      difference.set_changed = true;
    } else if (i == before.size() || after[j].first < before[i].first) {
      count(0, after[j++].second);
      difference.set_changed = true;
    } else {
      count(before[i++].second, after[j++].second);
    }
  }
  return difference;
}

bool in_scope(const ScopedEdit& scoped, int64_t row) { return scoped.scope_T.empty() || scoped.scope_T[row] != 0; }

}  // namespace

void Receipt::add(int64_t layer, const Decision& decision, std::span<const ScopedEdit> edits,
                  std::span<const int32_t> multiplicity_T) {
  if (edits.empty()) return;
  const int64_t num_rows = decision.before.ids_TK.size(0);
  FARE_CHECK(multiplicity_T.empty() || static_cast<int64_t>(multiplicity_T.size()) == num_rows,
             "one multiplicity per row");
  LayerReceipt& receipt = layers[layer];
  const bool same = decision.after.ids_TK.is_same(decision.before.ids_TK) && !decision.shared_scale_T.defined();
  const float* shared_T = decision.shared_scale_T.defined() ? decision.shared_scale_T.const_data_ptr<float>() : nullptr;
  std::vector<uint8_t> applied(edits.size(), 0);
  Row before, after;
  std::vector<uint8_t> replaced_T(static_cast<size_t>(num_rows), 0);
  for (const Replaced& one : decision.replaced) replaced_T[static_cast<size_t>(one.row)] = 1;
  for (int64_t t = 0; t < num_rows; ++t) {
    const int64_t times = multiplicity_T.empty() ? 1 : multiplicity_T[t];
    if (times == 0) continue;
    int64_t num_edits = 0;
    for (size_t i = 0; i < edits.size(); ++i) {
      if (!in_scope(edits[i], t)) continue;
      ++num_edits;
      applied[i] = 1;
    }
    if (num_edits == 0) continue;
    receipt.edits_applied += num_edits * times;
    receipt.tokens_in_scope += times;
    if (same) continue;
    read_row(decision.before, t, before);
    read_row(decision.after, t, after);
    const Difference difference = compare(before, after);
    if (difference.set_changed) receipt.topk_changed += times;
    if (after.empty() && !replaced_T[static_cast<size_t>(t)]) receipt.tokens_without_experts += times;
    receipt.gate_mass_moved_sum += difference.gate_mass_moved * static_cast<double>(times);
    receipt.changed |= replaced_T[static_cast<size_t>(t)] != 0 || difference.set_changed ||
                       difference.largest_change > 1e-6 * difference.largest_weight;
    if (shared_T != nullptr)
      receipt.changed |= std::abs(shared_T[t] - 1.0) > 1e-6 * std::max(1.0f, std::abs(shared_T[t]));
  }
  for (size_t i = 0; i < edits.size(); ++i)
    if (const auto* mask = std::get_if<Mask>(&edits[i].edit->op); mask != nullptr && applied[i])
      receipt.experts_removed.insert(mask->experts.begin(), mask->experts.end());
}

Receipt& Receipt::operator+=(const Receipt& other) {
  tokens += other.tokens;
  for (const auto& [layer, theirs] : other.layers) {
    LayerReceipt& ours = layers[layer];
    ours.edits_applied += theirs.edits_applied;
    ours.tokens_in_scope += theirs.tokens_in_scope;
    ours.topk_changed += theirs.topk_changed;
    ours.gate_mass_moved_sum += theirs.gate_mass_moved_sum;
    ours.tokens_without_experts += theirs.tokens_without_experts;
    ours.experts_removed.insert(theirs.experts_removed.begin(), theirs.experts_removed.end());
    ours.changed |= theirs.changed;
  }
  return *this;
}

bool Receipt::no_effect() const {
  return !layers.empty() &&
         std::none_of(layers.begin(), layers.end(), [](const auto& layer) { return layer.second.changed; });
}

OrderedJson Receipt::to_json(const std::string& intervention, const std::string& sha256) const {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
  };
  OrderedJson json;
  json["format"] = "fare-receipt/1";
  json["intervention"] = text_or_null(intervention);
  json["sha256"] = text_or_null(sha256);
  json["tokens"] = tokens;
  json["layers"] = OrderedJson::object();
  for (const auto& [layer, receipt] : layers) {
    OrderedJson entry;
    entry["edits_applied"] = receipt.edits_applied;
    entry["tokens_in_scope"] = receipt.tokens_in_scope;
    if (receipt.tokens_in_scope > 0) {
      const double in_scope_tokens = static_cast<double>(receipt.tokens_in_scope);
      entry["topk_changed_share"] = static_cast<double>(receipt.topk_changed) / in_scope_tokens;
      entry["gate_mass_moved"] = receipt.gate_mass_moved_sum / in_scope_tokens;
    } else {
      for (const std::string key : {"topk_changed_share", "gate_mass_moved"}) {
        entry[key] = nullptr;
        entry[key + "_reason"] = "no token is in the scope of an edit";
      }
    }
    entry["experts_removed"] = receipt.experts_removed.size();
    entry["tokens_without_experts"] = receipt.tokens_without_experts;
    json["layers"][std::to_string(layer)] = entry;
  }
  int64_t without_experts = 0;
  for (const auto& [layer, receipt] : layers) without_experts += receipt.tokens_without_experts;
  json["tokens_without_experts"] = without_experts;
  json["no_effect"] = no_effect();
  return json;
}

}  // namespace fare
