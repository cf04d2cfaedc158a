// What an intervention did, measured from the decisions before and after (docs/receipt.md).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>

#include "fare/core/json.h"
#include "fare/routing/route.h"

namespace fare {

struct LayerReceipt {
  int64_t edits_applied = 0;       // (row, edit) applications
  int64_t tokens_in_scope = 0;     // rows touched by at least one edit
  int64_t topk_changed = 0;        // rows in scope whose set of experts differs
  double gate_mass_moved_sum = 0;  // over rows in scope: half the absolute difference of weights scaled to sum 1
  int64_t tokens_without_experts = 0;
  std::set<int32_t> experts_removed;  // distinct experts masked
  bool changed = false;               // a set, or a weight by more than 1e-6 of the largest
};

// Sums over rows are counted with their multiplicity (how many requests share the row), so prefix sharing does not
// show. Receipts of disjoint rows add up: `a += b`.
struct Receipt {
  int64_t tokens = 0;                      // fed rows, prefix sharing not deducted
  std::map<int64_t, LayerReceipt> layers;  // layers with edits only

  void add(int64_t layer, const Decision& decision, std::span<const ScopedEdit> edits,
           std::span<const int32_t> multiplicity_T);
  Receipt& operator+=(const Receipt& other);

  // True when edits were asked for and nothing changed anywhere.
  bool no_effect() const;
  // interfaces: {"format": "fare-receipt/1", ..}. `intervention` and `sha256` are null when empty.
  OrderedJson to_json(const std::string& intervention, const std::string& sha256) const;
};

}  // namespace fare
