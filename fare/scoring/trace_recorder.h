// Hands the routes of a run on, request by request: to a file (`--trace routes`) or into memory (replay).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fare/routing/route_table.h"
#include "fare/scoring/scorer.h"

namespace fare {

// Offsets and fed tokens of all requests in order: the rows of a trace. Layers are left empty.
RouteTable trace_rows(std::span<const Request> requests, int64_t max_length, int64_t vocab_size);

// Row `from_row[i]` of the arrays belongs to trace row `to_row[i]`; logits [.., E], ids and weights [.., num_slots].
using TraceSink = std::function<void(int64_t layer, std::span<const int64_t> to_row, std::span<const int64_t> from_row,
                                     const float* logits, const int32_t* ids, const float* weights, int64_t num_slots)>;

// Watches a Scorer run and gives every fed token's route to `sink`, each trace row once per layer.
class TraceRecorder {
 public:
  // `rows`: trace_rows of the run's requests. `intervention`: which run to record, -1 = base.
  TraceRecorder(const RouteTable& rows, int64_t intervention, TraceSink sink);
  UnitObserver observer();

 private:
  const RouteTable& rows_;
  int64_t wanted_;
  TraceSink sink_;
  bool active_ = false;
  std::vector<int64_t> to_row_, from_row_;  // of the current unit
};

// A sink that keeps ids and weights in `table` (made by trace_rows), with `num_slots` slots in each of `layers`.
TraceSink keep_in_memory(RouteTable& table, const std::vector<int64_t>& layers, int64_t num_slots);

}  // namespace fare
