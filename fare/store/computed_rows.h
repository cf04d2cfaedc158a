// Rows that were asked for, whether they are kept in a store or not.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "fare/store/store.h"

namespace fare {

class ComputedRows {
 public:
  // Computes the parts: with a store as Store::compute_units does; without one here, in order, and in memory.
  // `store` must outlive this.
  template <typename Compute>
  ComputedRows(Store* store, std::span<const double> costs, const Compute& compute) : store_(store) {
    if (store_ != nullptr) {
      store_->compute_units(costs, compute);
      return;
    }
    for (size_t part = 0; part < costs.size(); ++part)
      for (const UnitRows& unit : compute(part, static_cast<int64_t>(part) + 1))
        for (const Row& row : unit.rows) rows_.emplace(row.key, row.value_json);
  }

  // The value of a row, computed now or stored before. Throws BrokenInvariant when it is not there.
  std::string at(const RowKey& key) const;

 private:
  Store* store_;
  std::map<RowKey, std::string> rows_;  // without a store
};

}  // namespace fare
