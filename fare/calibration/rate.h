// A share of replicates with its 95% Wilson interval.
#pragma once

#include <cstdint>
#include <string>

#include "fare/core/json.h"
#include "fare/stats/outcome.h"

namespace fare {

struct Rate {
  int64_t hits = 0, of = 0;
  void add(bool hit) {
    hits += hit;
    ++of;
  }
  double share() const { return of == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(of); }
};

// NAME, NAME_low, NAME_high in `json`; null with the reason where nothing was counted.
void put_rate(OrderedJson& json, const std::string& name, const Rate& rate, const std::string& reason);

// A pass mark and whether it holds; `value` is the worst cell's.
struct Mark {
  std::string mark;
  double low = 0, high = 1;  // holds when low <= value <= high
  // With few replicates a mark is missed only where the 95% interval of a cell's share lies outside the limits
  // altogether.
  bool lenient = false;
  double value = 0;
  int64_t cells = 0;  // 0: nothing to judge
  std::string where;  // the worst cell: furthest outside, or nearest to a limit
  bool passed = true;

  void see(double value, const std::string& where);
  void see(const Rate& rate, const std::string& where);
};
OrderedJson mark_json(const Mark& mark);

}  // namespace fare
